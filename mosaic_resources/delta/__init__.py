"""Delta tables: every read and every commit of the lake goes through here."""
