//! XML as `xctrace` writes it, event by event: elements, attributes, text, the five named entities and character
//! references. Declarations of document types are refused, so that nothing expands.

use crate::{Error, ErrorKind};

/// Deepest nesting of elements.
const MAX_DEPTH: usize = 64;
/// Most attributes of an element.
const MAX_ATTRIBUTES: usize = 64;

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event<'a> {
    /// An element begins; its attributes are asked of the [`Xml`].
    Open { name: &'a str },
    /// An element ends.
    Close { name: &'a str },
    /// Text between elements, entities resolved.
    Text(String),
    /// The document is over.
    End,
}

/// A document, read from front to back.
pub(super) struct Xml<'a> {
    text: &'a str,
    at: usize,
    open: Vec<&'a str>,
    attributes: Vec<(&'a str, &'a str)>,
    /// An element without content was opened and is to be closed next.
    closing: bool,
}

impl<'a> Xml<'a> {
    pub(super) fn new(text: &'a str) -> Xml<'a> {
        Xml { text, at: 0, open: Vec::new(), attributes: Vec::new(), closing: false }
    }

    /// Elements that are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// An attribute of the element that was opened last, entities resolved.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        self.raw(name).map(unescaped)
    }

    /// The same as written.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    pub(super) fn wrong(&self, kind: ErrorKind, cause: impl Into<String>) -> Error {
        Error::new(kind, cause).at(self.at)
    }

    /// The error of a document that ends within something.
    pub(super) fn cut(&self, what: &str) -> Error {
        self.wrong(ErrorKind::Truncated, format!("the file ends within {what}"))
    }

    pub(super) fn next(&mut self) -> Result<Event<'a>, Error> {
        if std::mem::take(&mut self.closing) {
            let name = self.open.pop().unwrap_or_default();
            return Ok(Event::Close { name });
        }
        loop {
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return match self.open.last() {
                    Some(name) => Err(self.cut(&format!("<{name}>"))),
                    None => Ok(Event::End),
                };
            }
            if rest.starts_with("<![CDATA[") {
                let text = self.until("]]>", 9, "a CDATA section")?;
                return Ok(Event::Text(text.to_owned()));
            }
            if rest.starts_with("<!--") {
                self.until("-->", 4, "a comment")?;
            } else if rest.starts_with("<?") {
                self.until("?>", 2, "a declaration")?;
            } else if rest.starts_with("<!") {
                return Err(self.wrong(ErrorKind::Unsupported, "has a document type, which no export has"));
            } else if rest.starts_with("</") {
                return self.close();
            } else if rest.starts_with('<') {
                return self.open();
            } else {
                let len = rest.find('<').unwrap_or(rest.len());
                self.at += len;
                if !self.open.is_empty() && !rest[..len].trim().is_empty() {
                    return Ok(Event::Text(unescaped(&rest[..len])));
                }
            }
        }
    }

    /// Steps behind the next `end` and gives what stands before it, `skip` bytes from here.
    fn until(&mut self, end: &str, skip: usize, what: &str) -> Result<&'a str, Error> {
        let rest = &self.text[self.at + skip..];
        let Some(len) = rest.find(end) else { return Err(self.cut(what)) };
        self.at += skip + len + end.len();
        Ok(&rest[..len])
    }

    fn close(&mut self) -> Result<Event<'a>, Error> {
        let at = self.at;
        let name = self.until(">", 2, "a tag")?.trim();
        match self.open.pop() {
            Some(open) if open == name => Ok(Event::Close { name }),
            open => {
                let open = open.map_or("no element is open".to_owned(), |o| format!("<{o}> is open"));
                Err(Error::new(
                    ErrorKind::Malformed,
                    format!("</{}> ends nothing: {open}", clipped(name, 40)),
                )
                .at(at))
            }
        }
    }

    fn open(&mut self) -> Result<Event<'a>, Error> {
        if self.open.len() >= MAX_DEPTH {
            return Err(
                self.wrong(ErrorKind::TooDeep, format!("more than {MAX_DEPTH} elements inside each other"))
            );
        }
        self.attributes.clear();
        self.at += 1;
        let name = self.name();
        if name.is_empty() {
            return Err(self.wrong(ErrorKind::Malformed, "a tag has no name"));
        }
        loop {
            let rest = &self.text[self.at..];
            self.at += rest.len() - rest.trim_start().len();
            let rest = &self.text[self.at..];
            if rest.starts_with('>') {
                self.at += 1;
                break;
            }
            if rest.starts_with("/>") {
                self.at += 2;
                self.closing = true;
                break;
            }
            if rest.is_empty() {
                return Err(self.cut(&format!("the tag <{name}>")));
            }
            self.read_attribute(name)?;
        }
        self.open.push(name);
        Ok(Event::Open { name })
    }

    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let len = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')))
            .unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn read_attribute(&mut self, element: &str) -> Result<(), Error> {
        let name = self.name();
        let rest = self.text[self.at..].trim_start();
        let value = rest.strip_prefix('=').map(str::trim_start).filter(|_| !name.is_empty());
        let Some((quote, value)) =
            value.and_then(|v| Some((v.chars().next().filter(|c| matches!(c, '"' | '\''))?, &v[1..])))
        else {
            if rest.is_empty() {
                return Err(self.cut(&format!("the tag <{element}>")));
            }
            return Err(self.wrong(
                ErrorKind::Malformed,
                format!("<{element}> has an attribute that is not name=\"value\""),
            ));
        };
        let Some(len) = value.find(quote) else {
            return Err(self.cut(&format!("an attribute of <{element}>")));
        };
        if self.attributes.len() >= MAX_ATTRIBUTES {
            let cause = format!("<{element}> has more than {MAX_ATTRIBUTES} attributes");
            return Err(self.wrong(ErrorKind::TooLarge, cause));
        }
        self.attributes.push((name, &value[..len]));
        self.at = self.text.len() - (value.len() - len - 1);
        Ok(())
    }
}

/// Text with entities resolved; what is none stays as it is.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest reference is `&#x10ffff;`.
        let end = rest.bytes().take(12).position(|b| b == b';');
        match end.and_then(|end| Some((end, entity(rest.get(1..end)?)?))) {
            Some((end, c)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// At most so many bytes of a text, cut between characters.
pub(super) fn clipped(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<Vec<String>, Error> {
        let mut xml = Xml::new(text);
        let mut found = Vec::new();
        loop {
            match xml.next()? {
                Event::Open { name } => {
                    found.push(format!("+{name}{:?}", xml.attribute("a").unwrap_or_default()))
                }
                Event::Close { name } => found.push(format!("-{name}")),
                Event::Text(text) => found.push(text),
                Event::End => return Ok(found),
            }
        }
    }

    #[test]
    fn elements_attributes_texts_and_entities_are_told_apart() {
        let text = "<?xml version='1.0'?><!-- > --><r a='1 &amp; 2'>x &#x41;<e a=\"'\"/><![CDATA[<]]></r>\n";
        assert_eq!(
            events(text),
            Ok(["+r\"1 & 2\"", "x A", "+e\"'\"", "-e", "<", "-r"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn what_is_no_xml_is_refused_where_it_stands() {
        let kind = |text: &str| events(text).map_err(|e| (e.kind(), e.offset())).unwrap_err();
        assert_eq!(kind("<a></b>"), (ErrorKind::Malformed, Some(3)));
        assert_eq!(kind("<a>"), (ErrorKind::Truncated, Some(3)));
        assert_eq!(kind("<a b>"), (ErrorKind::Malformed, Some(4)));
        assert_eq!(kind("<!DOCTYPE x [<!ENTITY a \"b\">]>"), (ErrorKind::Unsupported, Some(0)));
        assert_eq!(kind(&"<a>".repeat(100)).0, ErrorKind::TooDeep);
    }
}
