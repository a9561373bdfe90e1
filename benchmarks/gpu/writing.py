"""What a run on a GPU came to, as the JSON and the Markdown that are kept."""

from __future__ import annotations

from typing import Any


def together(found: list[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    """All suites as one run, as pytest-benchmark writes one."""
    suites = [kept for kept in found if "benchmarks" in kept]
    lists = {
        name: [each for kept in suites for each in kept[name]]
        for name in ("failed", "skipped", "benchmarks")
    }
    problems = [kept for kept in found if "problem" in kept]
    return {"suite": "gpu", "command": "make gpu", **facts, "problems": problems, **lists}


def tested(tests: dict[str, Any]) -> str:
    """A file of tests, or a tool of compute-sanitizer, in a line."""
    line = f"- {tests['target']}: "
    if "passed" in tests:
        line += f"{tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped"
        line += f" in {tests['seconds']} s"
        if tests["failures"]:
            line += f"; **failed: {', '.join(tests['failures'])}**"
        return line + (f"; **{tests['problem']}**" if tests.get("exit_code") == 124 else "")
    if "problem" in tests:
        return line + f"**{tests['problem']}**"
    return line + str(tests.get("summary") or tests.get("skipped"))


def markdown(kept: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """The report of one run."""
    from benchmarks import report

    head = report.header(kept, "ganfast")
    head[-1:] = [f"- ganfast {kept['install']}", *map(tested, kept["tests"]), ""]
    lines = [*head, *report.left_out(kept)]
    if kept["problems"]:
        lines += ["## Not measured", "", *(f"- {each['problem']}" for each in kept["problems"]), ""]
    for suite in found:
        if suite.get("benchmarks"):
            title, about = report.foreword(suite)
            lines += [f"# {title}", "", report.verdict(suite), "", about, "", *report.body(suite)]
    return "\n".join(lines)
