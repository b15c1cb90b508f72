"""The report names the fault that was there, and tells a broken promise's whole story."""

from dataclasses import replace

from tests.chaos.checker import check
from tests.chaos.hand import LOG, REFERENCES, STORY, good, refused
from tests.chaos.ledger import Ledger
from tests.chaos.report import stories, summary, table
from tests.chaos.soak import Findings


def judge(ledger: Ledger) -> Findings:
    violations = check(ledger, REFERENCES)
    return Findings(ledger=ledger, references=REFERENCES, violations=violations, began=9.0)


def test_table_has_a_line_a_fault_and_one_for_all() -> None:
    lines = table(judge(good())).splitlines()

    assert lines[0].split()[:6] == ["fault", "times", "accepted", "lost", "doubled", "stuck"]
    assert lines[1].split() == ["kill", "1", "0", "0", "0", "0", "0", "3.0", "3.0"]
    assert lines[2].split() == ["all", "together", "1", "1", "0", "0", "0", "0", "3.0", "3.0"]


def test_table_counts_harm_at_the_faults_that_were_there() -> None:
    ledger = good()
    ledger.stories[0] = replace(STORY, status="running", events=LOG[:6])
    ledger.strikes.append(replace(ledger.strikes[0], fault="later", began=90.0, healed=90.0))
    lines = table(judge(ledger)).splitlines()

    assert lines[1].split()[:6] == ["kill", "1", "0", "0", "0", "1"]
    assert lines[2].split()[:6] == ["later", "1", "0", "0", "0", "0"]
    assert lines[3].split()[:7] == ["all", "together", "2", "1", "0", "0", "1"]


def test_story_has_fault_calls_and_log_in_the_order_of_time() -> None:
    ledger = good()
    ledger.calls.append(refused("GET", at=12.5, code=500, problem="internal"))
    lines = list(stories(judge(ledger)))

    assert lines[0].startswith("== one: Intent(")
    assert lines[1] == "   WRONG: GET: 500 internal"
    assert [line.split(maxsplit=1)[1] for line in lines[2:9]] == [
        "log 1 job.queued",
        "POST -> 202  queued seq 1 job_1 (0.10 s)",
        "log 2 job.started attempt=1",
        "GET -> 200  running seq 2 job_1 (0.10 s)",
        "FAULT kill",
        "healed: kill",
        "log 3 job.progress run=0 step=3",
    ]
    assert "GET -> 500 internal" in lines[9]


def test_summary_counts_ends_and_answers() -> None:
    assert summary(judge(good())).splitlines()[:2] == [
        "1 jobs: 1 succeeded; 1 needed more than one attempt",
        "4 calls: 3 200, 1 202; 6 frames of streams",
    ]
