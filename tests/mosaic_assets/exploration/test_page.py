"""Where pages are kept."""

from mosaic_assets.exploration.page import Subject, save_page


def test_the_newest_pages_of_a_table_are_kept(tmp_path):
    for version in (1, 2, 9, 10, 11):
        file = save_page(tmp_path, Subject("tables/x", version, 1), f"page {version}")
    assert file.read_text() == "page 11"
    assert sorted(one.name for one in file.parent.iterdir()) == ["version-10.html", "version-11.html", "version-9.html"]
