"""The names of the files in a run folder, and the list of those that its seal covers."""

from __future__ import annotations

from pruneaudit.core.files import STUDY_FILE
from pruneaudit.data.membership import MEMBERSHIP_FILE
from pruneaudit.engine.sources import SOURCES_FILE
from pruneaudit.evaluation.outcome import SCORES_FILE
from pruneaudit.evaluation.results import OPTIONAL_FILES, RESULT_FILES

ABOUT_FILE = "about.json"
REPORT_FILE = "report.html"
TRACKED_FOLDER = ".tracked"
"""Contains the page for trackers, without ids and pictures of samples."""
RELEASE_FILE = "release.json"
"""The properties and costs of every release; also in about.json."""
RECORDS_FILE = "records.csv"
"""The verdicts on single records, for the owner of the folder alone: no seal lists it, and no tracker gets it."""
EVALUATED_FILE = "evaluated.json"
"""The identity of the results and the page; while it stays the same, they are reused."""
SEALED_ALWAYS = (*RESULT_FILES, SCORES_FILE, REPORT_FILE)
"""Files that the seal of every finished run lists."""
SEALED_IF_THERE = (STUDY_FILE, MEMBERSHIP_FILE, RELEASE_FILE, SOURCES_FILE, EVALUATED_FILE, *OPTIONAL_FILES)
"""Files that the seal lists if they exist."""
PLANNED_BY = (STUDY_FILE, MEMBERSHIP_FILE, SOURCES_FILE)
"""The files from which the plan of a finished run is made."""
