"""The report and the card, from the run folder alone."""

from __future__ import annotations

from tests.stages.finished import BERT, copy_of, finished, say


def test_report_and_card_are_rebuilt_without_model_or_network(tmp_path):
    run = copy_of(finished(BERT), tmp_path)
    run.report.unlink()
    (run.merged / "README.md").unlink()
    (run.merged / "model.safetensors").unlink()
    said = say("report", str(run.path))
    assert said.code == 0, said.err
    assert "<html" in run.report.read_text("utf-8")
    assert (run.merged / "README.md").is_file()


def test_results_for_the_hub_are_left_out_where_the_test_rows_are_not_on_it():
    assert not (finished(BERT).merged / ".eval_results").exists()
