import time

import pytest

from finetune.data.cleaning.html import Html


@pytest.mark.parametrize(
    ("text", "fixed", "counts"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry", {"entity": 1}),
        ("&lt;3 &#39;x&#x27; &#163;5", "<3 'x' £5", {"entity": 4}),
        ("&amp;amp;lt;", "<", {"entity": 1}),
        ("&" + "amp;" * 1000 + "lt;", "<", {"entity": 1}),
        ("one<br/>two<BR>three", "one\ntwo\nthree", {"tag": 2}),
        ("<td>a</td><td>b</td>", " a  b ", {"tag": 4}),
        ('<a href="x">link</a>', "link", {"tag": 2}),
        ("<b>bold</b> and <i>so</i>", "bold and so", {"tag": 2}),
        ('x<span class="y">z</span>', "xz", {"tag": 2}),
        ("a<!-- hidden -->b", "a b", {"comment": 1}),
        ("<p>Hi</p><script>var a = '<b>';</script>", "\nHi\n ", {"tag": 4}),
        ("<div><article>x</article></div>", "\n\nx\n\n", {"tag": 4}),
        ('<input type="text">', "", {"tag": 1}),
        ("keep `<br>` but<br>not this", "keep `<br>` but\nnot this", {"tag": 1}),
    ],
)
def test_remnants_are_counted_and_peeled_off(text, fixed, counts):
    finding = Html().check(text)
    assert finding.repaired == fixed
    assert finding.counts == counts


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "if a<b then b>a",
        "I <3 you",
        "R&D",
        "AT&T; ok",
        "fish & chips;",
        "&copy 2020",
        "<think>hm</think>",
        "<|im_start|>user",
        "<s>[INST]</s>",
        "<mask>",
        "<unk>",
        "List<a> x",
        "vector<string>",
        "<article>\ntext\n</article>",
        "<input>2</input>",
        "<summary>x</summary>",
        "<title>",
        "<tool_call>",
        "`<b>x</b>`",
        "```html\n<p>&amp;</p>\n```",
        "<jo@example.org>",
        "#include <stdio.h>",
        "&foo;",
        "<--",
        "<>",
    ],
)
def test_what_only_looks_like_html_is_left_alone(text):
    assert Html().check(text) is None


@pytest.mark.parametrize(
    "piece",
    ["&amp;", "<b", "<!--", "<p ", "<p a=", "<script>", "`", "<b<br>r>", "&amp;lt;", " a='", "<a "],
)
def test_a_text_made_to_be_slow_is_not(piece):
    start = time.process_time()
    Html().check(piece * 20_000)
    assert time.process_time() - start < 5
