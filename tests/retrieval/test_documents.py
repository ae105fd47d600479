"""Files as texts: what a reader of them sees, and each that cannot be taken refused with a reason."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.retrieval.documents import Readers, UnreadableDocumentError
from llmops_tui.retrieval.html_text import html_text
from llmops_tui.retrieval.pdf_worker import UnreadablePdfError, pdf_text

PAGE = """\
<!doctype html><html><head><title>Returns &amp; refunds</title><style>p { color: red }</style>
<script>var a = "<p>not shown</p>";</script></head>
<body><nav><a href="/">Home</a></nav>
<h1>Returns</h1><p>Send it   back
within <b>30</b> days.</p>
<ul><li>new</li><li>in its box</li></ul>
<table><tr><th>item</th><th>days</th></tr><tr><td>lamp</td><td>30</td></tr></table>
<pre>a = 1
  b = 2</pre><img alt="a box"><noscript>no</noscript><p>1 &lt; 2</p></body></html>"""


def test_of_html_the_text_is_taken_that_is_seen() -> None:
    text, title = html_text(PAGE)
    assert title == "Returns & refunds"
    assert text == (
        "Home\n\n# Returns\n\nSend it back within 30 days.\n\n- new\n- in its box\n\n| item | days\n| lamp | 30\n\n"
        "```\na = 1\n  b = 2\n```\n\na box\n\n1 < 2"
    )


@pytest.mark.parametrize(
    ("page", "text", "title"),
    [
        ("<html><head><title>T<meta charset=utf-8></title><body><h1>A</h1>b", "# A\n\nb", "T"),
        ("<head><title>T</title><p>a", "a", "T"),
        ("<svg><title>icon</title></svg><title>T</title>a<title>U</title>", "a", "T"),
        ("<svg><g></g><svg></svg>hidden</svg>a<template></svg>b</template>c", "ac", ""),
    ],
)
def test_a_head_need_not_end_and_what_is_hidden_ends_where_it_does(page: str, text: str, title: str) -> None:
    assert html_text(page) == (text, title)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>a<p hidden>b<p>c", "a\n\nc"),
        ("<div>a<div hidden><p>b<div>c</div></p>d<br>e</div>f</div>", "a\n\nf"),
        ("<p>a <span style='color:red; Display : NONE'>b <b>c</b></i> d</span>e</p>", "a e"),
        ("<ul><li>a<li hidden>b<li>c</ul>d", "- a\n- c\n\nd"),
        ("<ul><li hidden>a<ul><li>b</ul></ul>c", "c"),
        ("<table><tr><td>a<td hidden>b<td>c<tr style=visibility:hidden><td>d</table>e", "| a | c\n\ne"),
        ("<p>a<img hidden alt=b>c<br hidden>d", "acd"),
        ("<table><tr hidden><td>a<tr><td>b</table>", "| b"),
        ("<table><tr hidden><td><b>a<tr><td>b<td>c<tr hidden><td>d<th>e<tbody><tr><td>f</table>", "| b | c\n| f"),
        ("<ul><li hidden><p>a<li>b</ul>", "- b"),
        ("<dl><dt hidden>a<b>b<dd>c</dl>", "c"),
        ("<ul><li hidden>a<ul><li>b<li>c</ul>d<li>e</ul>", "- e"),
        ("<table><tr hidden><td><table><tr><td>a<tr><td>b</table><tr><td>c</table>", "| c"),
        ("<div hidden><p>a<p>b<li>c</div>d", "d"),
        ("<p>a<span hidden>b</p>c", "a\n\nc"),
        ("<div hidden>a<script></div></script>b</div>c", "c"),
        ("<div style='display:none-ish; backdisplay:none'>a</div>", "a"),
        ("<body style='visibility: hidden'><main hidden>a</main>", "a"),
        ("<div role=tabpanel>a</div><div role=tabpanel hidden>b</div>", "a\n\nb"),
    ],
)
def test_what_says_that_it_is_not_shown_is_left_out_to_its_end(page: str, text: str) -> None:
    assert html_text(page)[0] == text


@given(st.text(alphabet="<>/aphtdrscriple!-\"'= \n&;", max_size=200))
def test_any_page_is_read_to_its_end(page: str) -> None:
    text, _ = html_text(f"<p>first</p>{page}")
    assert text.startswith("first")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
        ("café".encode("utf-16"), "café"),
        (b'<meta charset="latin-1"><p>caf\xe9', "café"),
        (b'<meta content="text/html; charset=windows-1252"><p>caf\xe9', "café"),
        # None of these can be: what says it is ASCII.
        (b'<meta charset="utf-16"><p>caf\xc3\xa9', "café"),
        (b'<meta charset="idna"><p>caf\xc3\xa9..' + b"x" * 99, "café.." + "x" * 99),
        (b'<meta charset="unicode_escape"><p>a\\n', "a\\n"),
    ],
)
def test_texts_come_in_the_encoding_that_they_name(tmp_path: Path, raw: bytes, text: str) -> None:
    path = tmp_path / ("page.html" if raw.startswith(b"<") else "text.txt")
    path.write_bytes(raw)
    with Readers() as readers:
        assert readers.read(path)[0] == text


@pytest.mark.parametrize(
    ("name", "raw", "told"),
    [
        ("a.txt", b"caf\xe9", "it is not UTF-8: byte 3"),
        ("a.md", b" \n", "it has no text"),
        ("a.txt", b"a\0b", "zero bytes"),
        ("a.html", b"<script>x</script>", "it has no text"),
        ("a.html", b'<meta charset="klingon">x', "klingon, which is unknown"),
    ],
)
def test_what_cannot_be_taken_is_refused(tmp_path: Path, name: str, raw: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    with Readers() as readers, pytest.raises(UnreadableDocumentError, match=told):
        readers.read(path)


def pdf(*pages: str, encrypt: bool = False) -> bytes:
    """A small PDF whose pages have one line of text each."""
    from io import BytesIO

    from pypdf import PdfReader, PdfWriter

    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for page in pages:
        stream = zlib.compress(f"BT /F1 12 Tf 72 700 Td ({page}) Tj ET".encode())
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {len(objects) + 2} 0 R "
            "/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>".encode()
        )
        objects.append(f"<< /Length {len(stream)} /Filter /FlateDecode >>\nstream\n".encode() + stream + b"\nendstream")
    objects[1] = f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(kids)}] >>".encode()
    found, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(found))
        found += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    start = len(found)
    found += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
        f"startxref\n{start}\n%%EOF\n"
    ).encode()
    if not encrypt:
        return found
    writer = PdfWriter(PdfReader(BytesIO(found)))
    writer.encrypt("secret", algorithm="RC4-128")
    made = BytesIO()
    writer.write(made)
    return made.getvalue()


def pdf_of_a_picture() -> bytes:
    """A page that draws one picture, as a scanned one does."""
    from io import BytesIO

    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject, NumberObject

    writer = PdfWriter()
    page = writer.add_blank_page(100, 100)
    picture = DecodedStreamObject()
    picture.set_data(b"\0")
    for name, value in (("Subtype", "Image"), ("ColorSpace", "DeviceGray")):
        picture[NameObject(f"/{name}")] = NameObject(f"/{value}")
    for name in ("Width", "Height", "BitsPerComponent"):
        picture[NameObject(f"/{name}")] = NumberObject(1)
    drawn = DictionaryObject({NameObject("/Scan"): writer._add_object(picture)})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/XObject"): drawn})
    made = BytesIO()
    writer.write(made)
    return made.getvalue()


def test_the_pages_of_a_pdf_are_separated() -> None:
    assert pdf_text(pdf("First page", "Second page")) == "First page\fSecond page"


def test_a_pdf_is_read_though_what_a_page_draws_is_missing() -> None:
    font, missing = b"/Resources << /Font", b"/Resources << /XObject << /Im 99 0 R >> /Font"
    first, _, rest = pdf("", "Hello text").partition(font)
    assert pdf_text(first + missing + rest) == "\fHello text"
    with pytest.raises(UnreadablePdfError, match=r"it has no text$"):
        pdf_text(pdf("").replace(font, missing))


def test_a_pdf_without_text_that_can_be_read_says_why() -> None:
    whole = pdf("First page")
    for raw, told in (
        (pdf("Secret", encrypt=True), "encrypted"),
        (pdf(""), "it has no text$"),
        (pdf(), "it has no pages"),
        (pdf_of_a_picture(), "it has no text: its pages are pictures"),
        (b"nothing of the kind", "cannot be read as a PDF"),
        (whole[: len(whole) // 3], "cannot be read as a PDF|it has no text|damaged"),
    ):
        with pytest.raises(UnreadablePdfError, match=told):
            pdf_text(raw)


@pytest.mark.slow
def test_pdfs_are_read_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "two.pdf").write_bytes(pdf("First page", "Second page"))
    (tmp_path / "none.pdf").write_bytes(b"nothing")
    with Readers() as readers:
        assert readers.read(tmp_path / "two.pdf") == ("First page\fSecond page", "")
        with pytest.raises(UnreadableDocumentError, match="cannot be read as a PDF"):
            readers.read(tmp_path / "none.pdf")
        assert readers.read(tmp_path / "two.pdf")[0]
