"""A parser of the page: elements with their attributes, and the text of some."""

from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "link"}


class Markup(HTMLParser):
    """`elements` as (tag, attributes); `texts` of every element with an id, and of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.feed(text)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append((tag, attributes.get("id") or tag))

    def handle_endtag(self, tag):
        opened, _ = self._open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        for name in {name for _, name in self._open}:
            self.texts[name] = self.texts.get(name, "") + data

    def values(self, attribute, tag=None):
        return [a[attribute] for t, a in self.elements if attribute in a and tag in (None, t)]
