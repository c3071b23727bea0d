"""An audit with every key that `prepare` writes, each with something found."""

from __future__ import annotations

from typing import Any


def full() -> dict[str, Any]:
    classes = {"refund": 700, "invoice": 400, "Refund": 12}
    return {
        "rows": {"read": 1302, "kept": 1112, "dropped": 190, "not_drawn": 7},
        "splits": {"train": 780, "validation": 160, "test": 172},
        "steps": [
            {"name": "read", "rows_in": 1302, "rows_out": 1300},
            {"name": "encoding", "rows_in": 1300, "rows_out": 1300, "changed": 31,
             "found": {"mojibake": 31}},
            {"name": "unicode", "rows_in": 1300, "rows_out": 1300, "changed": 0, "found": {}},
            {"name": "whitespace", "rows_in": 1300, "rows_out": 1300, "changed": 0,
             "found": {"edge": 17, "run": 401}},
            {"name": "personal_data", "rows_in": 1300, "rows_out": 1300, "changed": 0,
             "found": {"email": 5}},
            {"name": "exact_duplicates", "rows_in": 1300, "rows_out": 1112},
            {"name": "split", "rows_in": 1112, "rows_out": 1112},
        ],
        "columns": {"text": "utterance", "label": "label"},
        "classes": classes,
        "class_splits": {"train": {"refund": 500, "invoice": 270, "Refund": 10},
                         "validation": {"refund": 95, "invoice": 64, "Refund": 1},
                         "test": {"refund": 105, "invoice": 66, "Refund": 1}},
        "duplicates": {"exact": 188, "near": 23,
                       "clusters": [[f"a.csv:{n}" for n in range(2, 22)],
                                    ["a.csv:50", "a.csv:51"]]},
        "leakage": {"exact": 4, "near": 9, "pairs": [["a.csv:60", "a.csv:61"]],
                    "near_pairs": [["a.csv:70", "a.csv:71"]], "rows": {"test": 4},
                    "near_rows": {"test": 5, "train": 8}},
        "label_conflicts": 6,
        "label_spellings": [{"label": "Refund", "suggested": "refund", "rows": 12,
                             "reason": "case"}],
        "suspected_label_errors": [
            {"id": f"a.csv:{900 + n}", "given": "invoice", "suggested": "refund",
             "score": round(0.999 - 0.001 * n, 4)} for n in range(60)],
        "label_error_search": {"rows": 1112, "examined": 1000, "sampled": True},
        "personal_data": {"email": 5, "iban": 1},
        "encoding_repairs": 31,
        "cells": [
            {"split": "", "column": "price", "kind": "number", "rows": 1302, "missing": 62,
             "distinct": 25, "found": {"unit": 693, "outlier": 2},
             "examples": {"unit": ["a.csv:5", "a.csv:8"], "outlier": ["a.csv:77"]},
             "unit": "CanaryUnit", "constant": True, "same_as": "amount",
             "follows_from": ["city"]},
            {"split": "", "column": "city", "kind": "category", "rows": 1302, "missing": 0,
             "distinct": 9, "found": {}, "examples": {}},
        ],
        "tokens": {
            "p50": 14, "p95": 31, "max": 58, "limit": 40, "target_max": 9, "truncated_rows": 21,
            "divided_rows": 3, "tokens_lost": 190, "untrainable_rows": 2,
            "histogram": [[4, 13, 420], [14, 23, 510], [24, 33, 130], [34, 43, 31], [44, 53, 15],
                          [54, 63, 6]],
            "padding": {"random": 0.4512, "by_length": 0.0311},
            "audio_seconds": {"total": 3700.5, "p50": 4.2, "longest": 44.0, "beyond_30": 3},
        },
        "pictures": {"rows": 600, "width": {"min": 28, "p50": 64, "max": 640},
                     "height": {"min": 28, "p50": 28, "max": 28}, "formats": {"PNG": 600}},
        "recordings": {"rows": 600, "seconds": {"min": 0.16, "p50": 0.39, "max": 2.28},
                       "total_seconds": 240.1, "beyond_30": 0, "sampling_rates": {"8000": 600}},
        "synthetic": {"asked": 50, "proposed": 80, "added": 41,
                      "dropped": {"unusable": 20, "exact": 9, "near": 10},
                      "by_label": {"refund": 20, "invoice": 21}},
        "messages": ["The column `utterance` was taken as `text`."],
    }  # fmt: skip
