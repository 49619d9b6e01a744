"""What a visitor of the repository uses: the citation, and the forms for issues and pull requests."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

import pruneaudit
from pruneaudit.evaluation.results import RESULT_FILES, TABLES

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
CFF_REQUIRED = {"cff-version", "message", "title", "authors"}
CFF_KEYS = CFF_REQUIRED | {"type", "abstract", "version", "date-released", "license", "keywords", "references"}
CFF_REFERENCE = {
    *("type", "title", "authors", "year", "collection-title", "conference", "identifiers", "notes"),
    "repository-code",
}
"""Keys of the Citation File Format 1.2.0 that are in use here; its schema allows no others than its own."""
FORM_FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_citation_is_of_this_version_and_licence(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == pruneaudit.__version__
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]
    released = date.fromisoformat(citation["date-released"])
    dates = re.findall(r"^## \[\d\S*\] - (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert not dates or released == date.fromisoformat(dates[0])


def test_the_citation_has_the_keys_of_its_schema(citation):
    assert CFF_REQUIRED <= set(citation) <= CFF_KEYS
    assert all(isinstance(word, str) for word in citation["keywords"])
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference) <= CFF_REFERENCE
        assert all(set(author) in ({"name"}, {"given-names", "family-names"}) for author in reference["authors"])


def test_the_citation_names_both_published_systems(citation):
    paper, software = citation["references"]
    assert (paper["type"], software["type"]) == ("conference-paper", "software")
    assert [author["family-names"] for author in paper["authors"]] == ["Yuan", "Zhang"]
    identifiers = " ".join(identifier["value"] for identifier in paper["identifiers"])
    page = (ROOT / "docs" / "coming-from.md").read_text()
    assert re.search(r"\d{4}\.\d{5}", identifiers).group() in page
    for reference in (paper, software):
        assert reference["repository-code"] in page


def test_every_form_asks_in_the_way_that_github_knows():
    forms = {form.stem: yaml.safe_load(form.read_text()) for form in FORMS}
    assert set(forms) == {"bug_report", "question", "wrong_number", "config"}
    del forms["config"]
    for form in forms.values():
        assert {"name", "description", "body"} <= set(form)
        asked = [field for field in form["body"] if field["type"] != "markdown"]
        assert {field["type"] for field in form["body"]} <= FORM_FIELDS
        ids = [field["id"] for field in asked]
        assert len(ids) == len(set(ids))
        assert all(field["attributes"]["label"] for field in asked)
        assert any(field["validations"]["required"] for field in asked)
    assert {"command", "study", "row", "expected", "seed", "versions"} <= {
        field.get("id") for field in forms["wrong_number"]["body"]
    }


@pytest.mark.parametrize("name", ["bug_report.yml", "wrong_number.yml", "question.yml"])
def test_files_that_a_form_names_exist(name):
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text()
    for path in re.findall(r"\b(?:docs/[\w-]+\.md|[A-Z]+\.md|examples/)", text):
        assert (ROOT / path).exists(), path
    for table in re.findall(r"\b(\w+)\.csv", text):
        assert table in TABLES, table
    for file in re.findall(r"\babout\.json\b", text):
        assert file in RESULT_FILES
