//! The simplest codec that says everything: words with spaces between them.
//!
//! A question is a verb and what it is about, a reply one of `values`, `object` and `refused`. A value is one word if it holds no
//! others: `n`, `t`, `f`, `i5`, `d1.5`, texts and bytes in hexadecimal digits behind `s` and `b`, `o` and the name of an
//! object; otherwise brackets around the words of what it holds, of which `[` is a list, `(` a tuple, `{` a map, `<` a set.

use std::str::SplitAsciiWhitespace;

use procession_manager::{Codec, Data, ObjectId, Objects, Question, Reply, Session, data, to_data};

/// Values nest no deeper than they may.
const DEPTH_MAX: usize = data::DATA_DEPTH_MAX;

/// The codec.
#[derive(Debug, Default)]
pub(crate) struct Text;

impl Codec for Text {
    fn open(&self) -> Box<dyn Session> {
        Box::new(Speaks { is_over: false })
    }
}

struct Speaks {
    is_over: bool,
}

impl Session for Speaks {
    fn read(&mut self, message: &[u8], objects: &Objects<'_>) -> Result<Question, String> {
        let text = std::str::from_utf8(message).map_err(|error| error.to_string())?;
        let mut words = Words { words: text.split_ascii_whitespace(), objects };
        let verb = words.next()?;
        Ok(match verb {
            "hello" => Question::Hello,
            "create" => Question::Create { type_name: words.text()?, arguments: words.values()? },
            "get" => Question::Get { name: words.text()? },
            "publish" => Question::Publish { name: words.text()?, object: words.object()? },
            "call" => Question::Call { object: words.object()?, method: words.text()?, arguments: words.values()? },
            "keep" => Question::Keep { object: words.object()? },
            "drop" => Question::LetGo { object: words.object()? },
            "describe" => Question::Describe { object: words.object()? },
            "count" => Question::Count,
            "objects" => Question::Objects,
            "shutdown" => Question::Shutdown,
            "bye" => {
                self.is_over = true;
                Question::Hello
            }
            "panic" => panic!("as it was asked to"),
            other => return Err(format!("there is no verb {other:?}")),
        })
    }

    fn write(&mut self, reply: Reply) -> Vec<u8> {
        let mut words = Vec::new();
        match reply {
            Reply::Values(values) => {
                words.push("values".to_owned());
                values.iter().for_each(|value| write(value, &mut words));
            }
            Reply::Object { object, type_name, methods } => {
                words.extend(["object".into(), object.to_string(), hex(type_name.as_bytes())]);
                words.extend(methods);
            }
            Reply::Objects(objects) => {
                words.push("values".to_owned());
                let texts = objects.iter().map(|info| Data::from(info.to_string()));
                texts.for_each(|text| write(&text, &mut words));
            }
            Reply::Refused(refusal) => {
                let kind = format!("{refusal:?}");
                let kind = kind.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                words.extend(["refused".into(), kind.into(), hex(refusal.to_string().as_bytes())]);
            }
            other => panic!("a reply that this codec does not know: {other:?}"),
        }
        words.join(" ").into_bytes()
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

/// What is left of a question.
struct Words<'a> {
    words: SplitAsciiWhitespace<'a>,
    objects: &'a Objects<'a>,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, String> {
        self.words.next().ok_or_else(|| "it ends too early".to_owned())
    }

    fn text(&mut self) -> Result<String, String> {
        self.next().map(str::to_owned)
    }

    fn object(&mut self) -> Result<ObjectId, String> {
        self.next()?.parse().map_err(|error: procession_manager::NoObjectId| error.to_string())
    }

    /// All that is left, or all up to a bracket.
    fn values(&mut self) -> Result<Vec<Data>, String> {
        let mut values = Vec::new();
        while let Some(word) = self.words.next() {
            values.push(self.value(word, DEPTH_MAX)?);
        }
        Ok(values)
    }

    fn value(&mut self, word: &str, depth: usize) -> Result<Data, String> {
        let (kind, rest) = word.split_at_checked(1).ok_or("a word is not of this language")?;
        let number = || format!("{rest:?} is no number");
        Ok(match kind {
            "n" => Data::Null,
            "t" => Data::Bool(true),
            "f" => Data::Bool(false),
            "i" => match rest.parse::<i128>() {
                Ok(integer) => to_data(&integer).map_err(|error| error.to_string())?,
                Err(_) => return Err(number()),
            },
            "d" => Data::Float(rest.parse().map_err(|_| number())?),
            "s" => String::from_utf8(unhex(rest)?).map_err(|error| error.to_string())?.into(),
            "b" => unhex(rest)?.into(),
            "o" => {
                let object = rest.parse().map_err(|error: procession_manager::NoObjectId| error.to_string())?;
                self.objects.find(object).ok_or("there is no such object")?
            }
            "[" => Data::list(self.until("]", depth)?),
            "(" => Data::tuple(self.until(")", depth)?),
            "<" => Data::set(self.until(">", depth)?),
            "{" => {
                let mut items = self.until("}", depth)?.into_iter();
                let mut pairs = Vec::new();
                while let Some(key) = items.next() {
                    pairs.push((key, items.next().ok_or("a key has no value")?));
                }
                Data::map(pairs)
            }
            _ => return Err(format!("{word:?} is no value")),
        })
    }

    fn until(&mut self, end: &str, depth: usize) -> Result<Vec<Data>, String> {
        let depth = depth.checked_sub(1).ok_or("it nests too deep")?;
        let mut values = Vec::new();
        loop {
            match self.next()? {
                word if word == end => return Ok(values),
                word => values.push(self.value(word, depth)?),
            }
        }
    }
}

fn write(value: &Data, words: &mut Vec<String>) {
    match value {
        Data::Null => words.push("n".into()),
        Data::Bool(value) => words.push(if *value { "t" } else { "f" }.into()),
        Data::Integer(_) | Data::BigInteger(_) => words.push(format!("i{value}")),
        Data::Float(value) => words.push(format!("d{value:?}")),
        Data::Text(text) => words.push(format!("s{}", hex(text.as_bytes()))),
        Data::Bytes(bytes) => words.push(format!("b{}", hex(bytes))),
        Data::Object(proxy) => words.push(format!("o{}", proxy.object())),
        Data::List(items) => around("[", items, "]", words),
        Data::Tuple(items) => around("(", items, ")", words),
        Data::Set(items) => around("<", items, ">", words),
        Data::Map(pairs) => around("{", pairs.iter().flat_map(|(key, value)| [key, value]), "}", words),
        Data::Surrogates(_) | Data::Opaque(_) => panic!("this codec has no word for {value}"),
    }
}

fn around<'d>(begin: &str, items: impl IntoIterator<Item = &'d Data>, end: &str, words: &mut Vec<String>) {
    words.push(begin.into());
    items.into_iter().for_each(|item| write(item, words));
    words.push(end.into());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or("these are no bytes")?;
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
