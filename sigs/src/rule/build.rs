//! A rule while it is read: which buffer is selected, which content was last, what is still open.
//!
//! Memory: in proportion to the text.

use weir_l7::Buffer;

use super::ast::{Action, Header, Origin, Rule};
use super::condition::FlowCondition;
use super::header::ReadHeader;
use super::matcher::{Content, Group, Matcher, Place, Slot, Transform, Value};
use super::refusal::Mistake;
use super::word::Word;

/// More contents, tests and jumps than this are no rule.
const MATCHERS_MAX: usize = 256;

/// A rule while it is read.
pub(super) struct Builder {
    pub rule: Rule,
    selected: Option<Selected>,
    /// Where the content is that a modifier is of.
    last_content: Option<Path>,
    /// The group of the matcher that was read last: what relative ones follow.
    last_group: Option<usize>,
    /// The `base64_decode` that was read last: group and index.
    last_base64: Option<(usize, usize)>,
    /// Behind `base64_data`: the matcher that what follows is in.
    inside: Option<(usize, usize)>,
    matchers: usize,
    /// How many options of each kind that may stand only once were read.
    seen: Vec<&'static str>,
}

/// A sticky buffer.
struct Selected {
    place: Place,
    transforms: Vec<Transform>,
    group: Option<usize>,
    name: &'static str,
}

/// Where a matcher is: its group, the base64 matcher around it, its index.
#[derive(Clone, Copy)]
struct Path {
    group: usize,
    inside: Option<usize>,
    index: usize,
}

/// Buffers of which a message has several: each time one is named, it is another of them.
fn is_repeated(place: Place) -> bool {
    matches!(
        place,
        Place::Buffer(
            Buffer::DnsQuery
                | Buffer::DnsAnswer
                | Buffer::TlsCertificate
                | Buffer::TlsAlternativeName
                | Buffer::TlsAlpn
                | Buffer::HttpRequestHeader
                | Buffer::HttpResponseHeader
                | Buffer::Http2Header
                | Buffer::Http2HeaderName
                | Buffer::SmtpTo
                | Buffer::KerberosClient
                | Buffer::KerberosService
                | Buffer::MqttTopic
                | Buffer::MqttSubscription
        )
    )
}

impl Builder {
    pub fn new(origin: Origin, header: ReadHeader) -> Self {
        let ReadHeader {
            action,
            header,
            notes,
        } = header;
        Self {
            rule: empty_rule(origin, action, header, notes),
            selected: None,
            last_content: None,
            last_group: None,
            last_base64: None,
            inside: None,
            matchers: 0,
            seen: Vec::new(),
        }
    }

    /// An option that may stand only once.
    pub fn once(&mut self, word: Word<'_>, keyword: &'static str) -> Result<(), Mistake> {
        if self.seen.contains(&keyword) {
            return Err(word.malformed(format!("{keyword} stands twice in the rule")));
        }
        self.seen.push(keyword);
        Ok(())
    }

    /// Whether this option was read.
    pub fn has(&self, keyword: &str) -> bool {
        self.seen.contains(&keyword)
    }

    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.rule.notes.contains(&note) {
            self.rule.notes.push(note);
        }
    }

    /// A sticky buffer: what follows is looked for there.
    pub fn select(&mut self, place: Place, name: &'static str) {
        self.close_selection();
        self.selected = Some(Selected {
            place,
            transforms: Vec::new(),
            group: None,
            name,
        });
    }

    /// `pkt_data`: what follows is looked for in the payload again.
    pub fn select_payload(&mut self) {
        self.close_selection();
    }

    fn close_selection(&mut self) {
        self.last_group = None;
        self.inside = None;
        if let Some(selected) = self.selected.take()
            && selected.group.is_none()
        {
            self.note(format!(
                "{} is named and nothing is looked for in it",
                selected.name
            ));
        }
    }

    /// Whether a sticky buffer is selected.
    pub const fn is_sticky(&self) -> bool {
        self.selected.is_some()
    }

    /// Where what follows is looked for.
    pub fn place(&self) -> Place {
        self.selected
            .as_ref()
            .map_or(Place::Buffer(Buffer::Payload), |selected| selected.place)
    }

    pub fn transform(&mut self, word: Word<'_>, transform: Transform) -> Result<(), Mistake> {
        let Some(selected) = &mut self.selected else {
            return Err(word.malformed(
                "a transform follows a sticky buffer: write http.uri; to_lowercase; content:\"…\"",
            ));
        };
        if selected.group.is_some() {
            return Err(word.malformed(
                "a transform stands directly behind its sticky buffer, before the first content",
            ));
        }
        if selected.transforms.len() >= 16 {
            return Err(word.malformed("there are more than 16 transforms"));
        }
        selected.transforms.push(transform);
        Ok(())
    }

    /// The group that a matcher is of. What is relative and follows an older modifier stays with it.
    fn group(&mut self, relative: bool) -> usize {
        let Some(selected) = &mut self.selected else {
            if let (true, Some(group)) = (relative, self.last_group) {
                return group;
            }
            return self.group_of(Place::Buffer(Buffer::Payload));
        };
        if let Some(group) = selected.group {
            return group;
        }
        let (place, transforms) = (selected.place, &selected.transforms);
        let same = |group: &Group| group.place == place && &group.transforms == transforms;
        let existing = match is_repeated(place) {
            true => None,
            false => self.rule.groups.iter().position(same),
        };
        let group = existing.unwrap_or_else(|| {
            self.rule.groups.push(Group {
                place,
                transforms: transforms.clone(),
                matchers: Vec::new(),
            });
            self.rule.groups.len() - 1
        });
        selected.group = Some(group);
        group
    }

    /// The group of a place without transforms, whichever way it was named.
    fn group_of(&mut self, place: Place) -> usize {
        let groups = &mut self.rule.groups;
        let same = |group: &Group| group.place == place && group.transforms.is_empty();
        groups.iter().position(same).unwrap_or_else(|| {
            groups.push(Group {
                place,
                transforms: Vec::new(),
                matchers: Vec::new(),
            });
            groups.len() - 1
        })
    }

    /// Adds a matcher where things are looked for now. One that is relative follows what was matched
    /// last, wherever that was.
    pub fn push(
        &mut self,
        word: Word<'_>,
        matcher: Matcher,
        relative: bool,
    ) -> Result<(), Mistake> {
        let group = match self.inside {
            Some((group, _)) => group,
            None => self.group(relative),
        };
        self.push_to(word, group, matcher)
    }

    /// Adds a matcher for this place, whatever is selected.
    pub fn push_at(
        &mut self,
        word: Word<'_>,
        place: Place,
        matcher: Matcher,
    ) -> Result<(), Mistake> {
        let group = self.group_of(place);
        self.push_to(word, group, matcher)
    }

    /// Adds what is looked for in a buffer whatever is selected.
    pub fn push_group(&mut self, word: Word<'_>, group: Group) -> Result<(), Mistake> {
        self.count(word)?;
        let groups = &mut self.rule.groups;
        let same = |of: &&mut Group| of.place == group.place && of.transforms == group.transforms;
        match groups.iter_mut().find(same) {
            Some(existing) => existing.matchers.extend(group.matchers),
            None => groups.push(group),
        }
        Ok(())
    }

    fn push_to(&mut self, word: Word<'_>, group: usize, matcher: Matcher) -> Result<(), Mistake> {
        self.count(word)?;
        let is_content = matches!(matcher, Matcher::Content(_));
        let is_base64 = matches!(matcher, Matcher::Base64(_));
        let inside = match self.inside {
            Some((of, index)) if of == group => Some(index),
            _ => None,
        };
        if is_base64 && inside.is_some() {
            return Err(word.malformed("base64_decode within base64_data is not possible"));
        }
        let Some(list) = self.list(group, inside) else {
            return Ok(());
        };
        list.push(matcher);
        let index = list.len() - 1;
        self.last_group = Some(group);
        if is_content {
            self.last_content = Some(Path {
                group,
                inside,
                index,
            });
        }
        if is_base64 {
            self.last_base64 = Some((group, index));
        }
        Ok(())
    }

    fn count(&mut self, word: Word<'_>) -> Result<(), Mistake> {
        self.matchers += 1;
        if self.matchers > MATCHERS_MAX {
            return Err(word.malformed(format!("the rule has more than {MATCHERS_MAX} matchers")));
        }
        Ok(())
    }

    /// `base64_data`: what follows is looked for in what was decoded last.
    pub fn enter_base64(&mut self, word: Word<'_>) -> Result<(), Mistake> {
        self.inside = self.last_base64;
        match self.inside {
            Some(_) => Ok(()),
            None => Err(word.malformed("base64_data follows the base64_decode that it is of")),
        }
    }

    fn list(&mut self, group: usize, inside: Option<usize>) -> Option<&mut Vec<Matcher>> {
        let matchers = &mut self.rule.groups.get_mut(group)?.matchers;
        let Some(inside) = inside else {
            return Some(matchers);
        };
        match matchers.get_mut(inside)? {
            Matcher::Base64(base64) => Some(&mut base64.inside),
            _ => None,
        }
    }

    /// The content that a modifier is of.
    pub fn content(&mut self, word: Word<'_>, modifier: &str) -> Result<&mut Content, Mistake> {
        let missing = word.malformed(format!("{modifier} follows the content that it is of"));
        let Some(path) = self.last_content else {
            return Err(missing);
        };
        let list = self.list(path.group, path.inside);
        match list.and_then(|list| list.get_mut(path.index)) {
            Some(Matcher::Content(content)) => Ok(content),
            _ => Err(missing),
        }
    }

    /// An older modifier (`http_uri`): the last content, until now of the payload, is of this place.
    pub fn move_content(
        &mut self,
        word: Word<'_>,
        place: Place,
        modifier: &str,
    ) -> Result<(), Mistake> {
        let missing = || word.malformed(format!("{modifier} follows the content that it is of"));
        if let Some(selected) = &self.selected {
            let why = format!(
                "{modifier} is of a content of the payload, and {} is selected: write pkt_data; before the content, or the sticky buffer",
                selected.name
            );
            return Err(word.malformed(why));
        }
        let path = self.last_content.ok_or_else(missing)?;
        if path.inside.is_some() {
            return Err(missing());
        }
        let of_payload = self.rule.groups.get(path.group).is_some_and(|group| {
            group.place == Place::Buffer(Buffer::Payload) && group.transforms.is_empty()
        });
        if !of_payload {
            return Err(word.malformed("the content is of another buffer already"));
        }
        let target = self.group_of(place);
        let Some(list) = self.list(path.group, None) else {
            return Err(missing());
        };
        if path.index >= list.len() {
            return Err(missing());
        }
        let content = list.remove(path.index);
        let Some(target_list) = self.list(target, None) else {
            return Err(missing());
        };
        target_list.push(content);
        let index = target_list.len() - 1;
        self.last_group = Some(target);
        self.last_content = Some(Path {
            group: target,
            inside: None,
            index,
        });
        Ok(())
    }

    /// Where a number is put aside under this name.
    pub fn declare(&mut self, word: Word<'_>) -> Result<Slot, Mistake> {
        let first = word.text.chars().next();
        let letter = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        if !first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            || !word.text.chars().all(letter)
        {
            return Err(word.malformed(format!(
                "{:?} is no name for a number: begin with a letter",
                word.text
            )));
        }
        if self.rule.variables.iter().any(|name| name == word.text) {
            return Err(word.malformed(format!("{} has a number already", word.text)));
        }
        let slot = u8::try_from(self.rule.variables.len()).ok();
        let slot = slot.filter(|&slot| slot < 16);
        let slot = slot.ok_or_else(|| word.malformed("more than 16 numbers are put aside"))?;
        self.rule.variables.push(word.text.to_owned());
        Ok(Slot(slot))
    }

    /// A number, or the name of one that was put aside.
    pub fn value(&self, word: Word<'_>) -> Result<Value, Mistake> {
        let begins_as_number = |letter: char| letter.is_ascii_digit() || "+-".contains(letter);
        if word.text.starts_with(begins_as_number) || word.text.is_empty() {
            return Ok(Value::Number(word.signed()?));
        }
        self.named(word)
    }

    /// As [`Self::value`], of a number that others are compared or calculated with: wide, not below 0.
    pub fn operand(&self, word: Word<'_>) -> Result<Value, Mistake> {
        if word
            .text
            .starts_with(|letter: char| letter.is_ascii_digit())
        {
            let number = word.number_to(i64::MAX.unsigned_abs())?;
            return Ok(Value::Number(i64::try_from(number).unwrap_or(i64::MAX)));
        }
        self.named(word)
    }

    fn named(&self, word: Word<'_>) -> Result<Value, Mistake> {
        let known = self
            .rule
            .variables
            .iter()
            .position(|name| name == word.text);
        let slot = known.and_then(|index| u8::try_from(index).ok());
        slot.map(|slot| Value::Variable(Slot(slot))).ok_or_else(|| {
            word.malformed(format!(
                "{:?} is no number, and no byte_extract or byte_math before it has this name",
                word.text
            ))
        })
    }

    /// The rule, complete; `end` is where its text ends.
    pub fn finish(mut self, end: usize) -> Result<Rule, Mistake> {
        self.close_selection();
        if self.rule.sid == 0 {
            return Err(Mistake::malformed(
                end,
                "sid is missing: give the rule a number, sid:1000001;",
            ));
        }
        self.rule.groups.retain(|group| !group.matchers.is_empty());
        Ok(self.rule)
    }
}

/// A rule that says nothing yet.
fn empty_rule(origin: Origin, action: Action, header: Header, notes: Vec<String>) -> Rule {
    Rule {
        origin,
        action,
        header,
        sid: 0,
        gid: 1,
        revision: 0,
        message: String::new(),
        class: None,
        priority: 3,
        references: Vec::new(),
        metadata: Vec::new(),
        target: None,
        flow: FlowCondition::default(),
        packet: Vec::new(),
        session: Vec::new(),
        groups: Vec::new(),
        variables: Vec::new(),
        state: Vec::new(),
        threshold: None,
        tag: None,
        silent: false,
        notes,
    }
}
