"""The inference log on its way to Delta: frames appended to local files before an answer leaves."""
