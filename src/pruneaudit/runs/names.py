"""What the files of a run folder are called, and which of them its seal lists."""

from __future__ import annotations

from pruneaudit.core.files import STUDY_FILE
from pruneaudit.data.membership import MEMBERSHIP_FILE
from pruneaudit.engine.sources import SOURCES_FILE
from pruneaudit.evaluation.outcome import SCORES_FILE
from pruneaudit.evaluation.results import RESULT_FILES

ABOUT_FILE = "about.json"
REPORT_FILE = "report.html"
TRACKED_FOLDER = ".tracked"
"""Holds the page as trackers are given it: without ids and pictures of samples."""
RELEASE_FILE = "release.json"
"""What every release is and costs; also in about.json."""
EVALUATED_FILE = "evaluated.json"
"""What shaped the results and the page: where it is the same again, they are not made again."""
SEALED_ALWAYS = (*RESULT_FILES, SCORES_FILE, REPORT_FILE)
"""What the seal of every finished run lists."""
SEALED_IF_THERE = (STUDY_FILE, MEMBERSHIP_FILE, RELEASE_FILE, SOURCES_FILE, EVALUATED_FILE)
"""What it lists besides, where it is there."""
PLANNED_BY = (STUDY_FILE, MEMBERSHIP_FILE, SOURCES_FILE)
"""What the plan of a finished run is made from."""
