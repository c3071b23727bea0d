"""The report: one valid file in which nothing runs, loads or leaks, for every family."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import html5lib
import pytest

from finetune.reports import report

from . import folders

FAMILIES = [folders.classification, folders.text2text, folders.chat, folders.image_text,
            folders.speech]  # fmt: skip
CANARY = "CanaryZebra7"

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<img src=//evil.example/x.png>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "</svg><script>alert(1)</script>",
    "<body onload=alert(1)>",
    '"><script>alert(1)</script>',
    "'><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "<a href=javascript:alert(1)>x</a>",
    '<a href="jAvAsCrIpT:alert(1)">x</a>',
    "<iframe src=//evil.example></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=//evil.example></object>",
    "<embed src=//evil.example>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import url(//evil.example/x.css)</style>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</pre><script>alert(1)</script>",
    "<!--<script>alert(1)//-->",
    "--><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<meta http-equiv=refresh content=0>",
    "<base href=//evil.example/>",
    "<form action=//evil.example><input name=x></form>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<math><mtext><script>alert(1)</script></mtext></math>",
    "<template><script>alert(1)</script></template>",
    "{{ 7 * 7 }}{% include 'report.css' %}",
    "${alert(1)}",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)",
    "`<img src=x onerror=alert(1)>`",
    "red;width:100%;background:url(//evil.example)",
    "\u2028<script>alert(1)</script>\u2029",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "\x00<script>\x00alert(1)</script>",
    "\udc80<b>",
    "\u202egnp.exe",
    "<input autofocus onfocus=alert(1)>",
    "<marquee onstart=alert(1)>",
]


def parse(text: str):
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(text)


def assert_harmless(text: str) -> None:
    """No element that runs or loads, no event handler, no address but a place in the file."""
    for element in parse(text).iter():
        if not isinstance(element.tag, str):
            continue
        tag = element.tag.rsplit("}", 1)[-1].lower()
        assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form", "input",
                           "video", "audio", "template", "marquee", "details"}  # fmt: skip
        for name, value in element.attrib.items():
            name = str(name).lower()
            assert not name.startswith("on")
            if name.endswith(("href", "src", "data", "action", "srcdoc", "poster", "background")):
                assert value.startswith(("#", "data:image/png;base64,"))
            if name == "style":
                assert re.fullmatch(r"((left|width):-?[\d.]+(%|px);?)+", value)
            if name == "http-equiv":
                assert value == "Content-Security-Policy"


@pytest.mark.parametrize("make", FAMILIES)
def test_the_report_of_every_family_is_valid_and_harmless(make, tmp_path):
    path = report.build(make(tmp_path / "run"), examples=5)
    text = path.read_text(encoding="utf-8")
    assert path == tmp_path / "run/report.html"
    assert_harmless(text)
    assert "What is missing" not in text
    csp = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert f'content="{csp}"' in text.replace("&#39;", "'")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_value_can_become_markup(payload, tmp_path):
    folder = tmp_path / "run"
    labels = [payload, f"{payload} again", "plain"]
    safe = [label.encode("utf-8", "replace").decode() for label in labels]
    folders.classification(folder, safe)
    for name in ("manifest.json", "eval/metrics.json", "data/audit.json"):
        value = json.loads((folder / name).read_text())
        if name == "manifest.json":
            value |= {"name": payload, "command": ["python", payload], "created_at": payload}
            value["base_model"] |= {"name_or_path": payload, "sha256": {payload: payload}}
            value["strategy"]["name"] = value["environment"]["platform"] = payload
        if name == "eval/metrics.json":
            value["confusion"]["labels"] = labels
            value["slices"] = {payload: {payload: {"rows": 9, "accuracy": {"value": 0.1}}}}
            value["baselines"][payload] = {"accuracy": {"value": 0.3}}
            value["test"][payload] = {"value": 0.3}
        if name == "data/audit.json":
            value["messages"], value["columns"] = [payload], {payload: payload}
            value["leakage"] = {"exact": 1, "pairs": [[payload, payload]]}
        (folder / name).write_text(json.dumps(value))
    import yaml

    config = yaml.safe_dump({"name": safe[0], "x": {safe[0]: safe[0]}})
    (folder / "config.yaml").write_text(config)
    folders.table(folder, [{"id": safe[0], "text": safe[0], "label": safe[0], safe[1]: safe[0]}])
    folders.predictions(folder, [(safe[0], safe[0], payload, 0.5)])
    folders.write(folder / "error.json", {"code": 3, "what": safe[0], "fix": safe[0]})
    text = report.build(folder, examples=3).read_text(encoding="utf-8")
    assert_harmless(text)
    assert "cannot be shown" not in text


def test_the_guard_itself_sees_a_script():
    page = "<!DOCTYPE html><html><head><title>x</title></head><body>{}</body></html>"
    for bad in ("<script>1</script>", "<p onclick='x'>", "<a href='javascript:x'>x</a>",
                "<p style='background:url(x)'>"):  # fmt: skip
        with pytest.raises(AssertionError):
            assert_harmless(page.format(bad))


def plant(folder: Path) -> Path:
    text = f"my name is {CANARY}"
    folders.table(folder, [{"id": "test:1", "text": text, "source": text, "target": text}])
    folders.predictions(folder, [("test:1", text, text + "!", 0.4)])
    return folder


def test_no_row_text_appears_unless_asked_for(tmp_path):
    folder = plant(folders.text2text(tmp_path / "run"))
    assert CANARY not in report.build(folder).read_text()
    assert CANARY in report.build(folder, examples=1).read_text()


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    folder = folders.image_text(tmp_path / "run")
    first = report.build(folder, examples=6).read_bytes()
    assert report.build(folder, examples=6).read_bytes() == first


def test_every_stage_is_shown_with_its_time_the_report_s_own_too(tmp_path):
    folder = folders.classification(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stages"] = {"report": {"seconds": 75}} | manifest["stages"]
    folders.write(folder / "manifest.json", manifest)
    text = report.build(folder).read_text()
    text = text[text.index('id="cost"') :]
    shown = re.findall(r'<th scope="row">(\w+)</th><td class="n">([^<]+)</td>', text)
    assert [name for name, _ in shown if name in manifest["stages"]] == [
        *("prepare", "train", "export", "evaluate", "report")
    ]
    assert ("report", "1 min 15 s") in shown


def test_secrets_never_reach_the_report(tmp_path):
    folder = folders.classification(tmp_path / "run")
    (folder / "config.yaml").write_text(
        "tracking: {api_key: verysecret1, password: verysecret2, nested: {hf_token: verysecret3}}\n"
        "data: {path: 'https://anna:verysecret4@example.org/x.csv', note: hf_verySECRET5abc}\n"
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["command"] += ["tracking.token=verysecret6", "x=hf_verySECRET7abc"]
    folders.write(folder / "manifest.json", manifest)
    text = report.build(folder).read_text()
    assert "verysecret" not in text.lower()
    assert text.count("[hidden]") >= 7


@pytest.mark.parametrize("gone", [["data"], ["logs"], ["eval"], ["eval", "logs"],
                                  ["eval", "logs", "data"]])  # fmt: skip
def test_a_partial_run_gives_a_partial_report_that_says_what_is_missing(gone, tmp_path):
    folder = folders.classification(tmp_path / "run")
    for name in gone:
        shutil.rmtree(folder / name)
    text = report.build(folder).read_text()
    assert_harmless(text)
    assert "What is missing from this report" in text
    for name in gone:
        assert f"<code>{name}/" in text
    assert ('id="metrics"' in text) is ("eval" not in gone)
    assert ('id="curves"' in text) is ("logs" not in gone)
    assert ('id="data"' in text) is ("data" not in gone)


def test_prepare_alone_gives_a_report_of_the_data(tmp_path):
    folder = folders.classification(tmp_path / "run")
    shutil.rmtree(folder / "eval")
    shutil.rmtree(folder / "logs")
    kept = {"name": "run", "task": "text-classification", "stages": {"prepare": {"seconds": 2}}}
    folders.write(folder / "manifest.json", kept)
    text = report.build(folder).read_text()
    assert "Class balance" in text
    assert "<title>run: data report</title>" in text
    assert "What is missing" not in text
    assert "evaluated" not in text
    assert "1,260 rows in three splits" in text
    assert 'id="use"' not in text  # there is no merged model to use


def test_a_failed_run_says_so_first(tmp_path):
    folder = folders.classification(tmp_path / "run")
    shutil.rmtree(folder / "eval")
    error = {"code": 5, "what": ["The loss is `nan`.", "So is the gradient."]}
    error |= {"where": "train.csv:17", "fix": "Lower it."}
    folders.write(folder / "error.json", error)
    text = report.build(folder).read_text()
    assert "The run did not finish." in text
    assert "exit code 5" in text
    assert "The loss is <code>nan</code>. So is the gradient." in text
    assert "train.csv:17" in text
    assert "not been evaluated" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("eval/metrics.json", {"test": 3, "baselines": [], "per_class": 4, "slices": [1]}),
     ("eval/metrics.json", {"confusion": {"labels": ["a"], "matrix": [[1, 2]]}}),
     ("eval/metrics.json", {"primary_metric": None, "test": {"a": {"value": "x"}}, "rows": 7}),
     ("data/audit.json", {"steps": {}, "splits": [], "tokens": 5, "classes": {"a": "b"}}),
     ("data/audit.json", {"steps": 5, "messages": 7}),
     ("manifest.json", {"stages": [], "base_model": "x", "strategy": 3, "environment": []})],
)  # fmt: skip
def test_a_file_of_a_strange_shape_costs_its_section_not_the_report(name, value, tmp_path):
    folder = folders.classification(tmp_path / "run")
    folders.write(folder / name, value)
    text = report.build(folder).read_text()
    assert_harmless(text)
    assert 'id="configuration"' in text


def test_lower_is_better_is_said_in_the_report(tmp_path):
    text = report.build(folders.speech(tmp_path / "run")).read_text()
    assert "word error rate (lower is better) 0.182" in text
    assert "clearly better than the untouched base model, but worse than the best simple" in text


def test_few_classes_get_a_matrix_and_many_the_worst_pairs(tmp_path):
    few = report.build(folders.classification(tmp_path / "few")).read_text()
    labels = [f"intent {n}" for n in range(77)]
    many = report.build(folders.classification(tmp_path / "many", labels)).read_text()
    assert 'class="heat"' in few
    assert 'class="heat"' not in many
    assert "Commonest mistakes" in many
    assert all(label in many for label in labels)


def test_two_systems_that_differ_in_the_fourth_decimal_are_shown_apart(tmp_path):
    folder = folders.classification(tmp_path / "run")
    metrics = json.loads((folder / "eval/metrics.json").read_text())
    for place, system in enumerate((metrics["test"], *metrics["baselines"].values())):
        system["accuracy"] = {"value": 0.9 + place * 1e-4, "low": 0.85, "high": 0.95}
    folders.write(folder / "eval/metrics.json", metrics)
    text = report.build(folder).read_text()
    assert {"0.9000", "0.9001", "0.9002", "0.9003"} <= set(re.findall(r"0\.900\d", text))


def test_the_verdict_stands_before_everything_else(tmp_path):
    text = report.build(folders.classification(tmp_path / "run")).read_text()
    found = re.findall(r'<section id="(\w+)"', text)
    assert found == ["verdict", "metrics", "curves", "classes", "slices", "data", "model", "cost",
                     "use", "reproduce", "configuration"]  # fmt: skip


def test_headings_tables_and_plots_can_be_read_aloud(tmp_path):
    tree = parse(report.build(folders.image_text(tmp_path / "run"), examples=3).read_text())
    levels = [int(each.tag[1]) for each in tree.iter() if re.fullmatch(r"h\d", str(each.tag))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for each in tree.iter("table"):
        assert each.find("caption") is not None
    assert all(each.get("alt") for each in tree.iter("img"))
    for each in tree.iter():
        if str(each.tag).endswith("svg"):
            assert each.get("aria-label")


def colours(css: str, block: str) -> dict[str, str]:
    body = css[css.index(block) :]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", body[: body.index("}")]))


@pytest.mark.parametrize("block", [":root {", "(prefers-color-scheme: dark)"])
@pytest.mark.parametrize(
    ("ink", "paper"),
    [("ink", "paper"), ("soft", "paper"), ("soft", "ground"), ("accent", "paper"),
     ("bad", "paper"), ("ink", "bad-soft"), ("bad", "bad-soft"), ("ink", "faint")],
)  # fmt: skip
def test_every_text_colour_has_the_contrast_of_wcag_aa(block, ink, paper):
    css = (Path(report.__file__).parent / "templates/report.css").read_text()
    known = colours(css, block)

    def light(name: str) -> float:
        parts = [int(known[name][at : at + 2], 16) / 255 for at in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((light(ink), light(paper)), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_a_run_on_preferences_is_called_so_and_its_surest_mistake_comes_first(tmp_path):
    folder = folders.chat(tmp_path / "run")
    config = folder / "config.yaml"
    config.write_text(config.read_text() + "task:\n  tag: preference\n")
    folders.predictions(folder, [("a", "chosen", "rejected", -1), ("b", "chosen", "rejected", -7)])
    text = report.build(folder, examples=2).read_text()
    assert "report · Preferences</p>" in text
    assert "<dt>Task</dt><dd>Preferences</dd>" in text
    assert text.index("<span>b</span>") < text.index("<span>a</span>")


@pytest.mark.parametrize("nothing", [0.0, None])
def test_a_class_without_a_test_row_has_dashes_and_stands_last(nothing, tmp_path):
    folder = folders.classification(tmp_path / "run")
    metrics = json.loads((folder / "eval/metrics.json").read_text())
    empty = dict.fromkeys(("precision", "recall", "f1"), nothing) | {"support": 0}
    metrics["per_class"] = {"an_empty_class": empty} | metrics["per_class"]
    folders.write(folder / "eval/metrics.json", metrics)
    text = report.build(folder).read_text()
    table = text.split("<caption>Weakest classes first")[1].split("</table>")[0]
    rows = re.findall(r'<tr><th scope="row">(\w+)</th><td class="n">([^<]*)</td>', table)
    assert len(rows) == 11
    assert rows[-1] == ("an_empty_class", "–")
    assert "Those without any come last" in text


@pytest.mark.parametrize(("computed", "words"), [
    (False, "as a share of what the model would compute"), (True, "computed no padding"),
])  # fmt: skip
def test_padding_that_was_not_computed_is_not_said_to_be(computed, words, tmp_path):
    folder = folders.classification(tmp_path / "run")
    audit = json.loads((folder / "data/audit.json").read_text())
    audit["tokens"]["padding"] = {"random": 0.45, "by_length": 0.03}
    folders.write(folder / "data/audit.json", audit)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stages"]["train"]["padding_free"] = computed
    folders.write(folder / "manifest.json", manifest)
    assert words in report.build(folder).read_text()


@pytest.mark.parametrize(("classes", "within"), [(10, False), (16, False), (77, True)])
def test_a_table_is_shown_whole_or_says_that_it_scrolls(classes, within, tmp_path):
    labels = [f"class_{number:02}" for number in range(classes)]
    text = report.build(folders.classification(tmp_path / "run", labels)).read_text()
    for name in ("Class by class", "Class balance"):
        opening = next(line for line in text.split("\n") if f'aria-label="{name}"' in line)
        assert ("longtable" in opening) is within
        assert "wide" in opening  # which says on a telephone that it scrolls sideways
    assert text.count(f"{classes} rows: scroll within the table") == 2 * within
