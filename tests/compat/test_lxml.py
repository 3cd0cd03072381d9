"""lxml: elements made of frozen text, searched by frozen names."""

import pytest
from _rounds import rounds

etree = pytest.importorskip("lxml.etree")
from lxml.builder import E  # noqa: E402

TREE = etree.fromstring(
    '<list><item name="pear" n="1">one</item><item name="Zürich" n="2">two</item></list>'
)


@rounds
def test_elements_with_frozen_attributes(d):
    element = etree.Element("a", d.strings)
    element.attrib.update(d.strings)
    element.text, element.tail = d.latin, d.astral
    return etree.tostring(element, encoding="unicode")


@rounds
def test_sub_elements(d):
    root = etree.Element("root")
    for record in d.records:
        etree.SubElement(root, "record", city=record["city"], name=record["name"])
    return etree.tostring(root)


@rounds
def test_builder(d):
    return etree.tostring(E.ul(*(E.li(word) for word in d.words), d.strings))


@rounds
def test_searching_by_frozen_names(d):
    return (
        TREE.find(d.names["tag"]).text,
        TREE.findtext(d.names["path"], namespaces=d.strings),
        [item.get(d.names["name"]) for item in TREE.iter(d.names["tag"])],
        TREE.xpath("//item[@name = $name]", name=d.words[0])[0].text,
    )


@rounds
def test_parsed_from_frozen_documents(d):
    return (
        [etree.fromstring(x).tag for x in (d.documents["text"], d.documents["bytes"])],
        etree.HTML(d.documents["text"]).findtext(".//b"),
    )


@rounds
def test_namespaces(d):
    element = etree.Element("{urn:x}a", nsmap=d.namespaces)
    return etree.tostring(element), element.find("x:b", namespaces=d.namespaces)


# 200 us for each transformation.
@rounds(count=4_000)
def test_xslt_parameters(d):
    quoted = [etree.XSLT.strparam(word) for word in d.words]
    return [str(TRANSFORM(TREE, word=word)) for word in quoted]


TRANSFORM = etree.XSLT(
    etree.fromstring(
        '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
        '<xsl:output method="text"/><xsl:param name="word"/>'
        '<xsl:template match="/"><xsl:value-of select="$word"/></xsl:template></xsl:stylesheet>'
    )
)
