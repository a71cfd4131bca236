//! Reads a story, line by line, and puts its packets on the wire.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::frames::{Conversation, Transport, Wire};

/// Tells the story to the wire.
pub fn tell(story: &str, hosts: &BTreeMap<String, IpAddr>, wire: &mut Wire) -> Result<()> {
    let mut conversation: Option<Conversation> = None;
    for (number, line) in (1..).zip(story.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        tell_line(line, hosts, wire, &mut conversation)
            .with_context(|| format!("line {number}: {line}"))?;
    }
    Ok(())
}

fn tell_line(
    line: &str,
    hosts: &BTreeMap<String, IpAddr>,
    wire: &mut Wire,
    conversation: &mut Option<Conversation>,
) -> Result<()> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let current = conversation
        .as_mut()
        .ok_or_else(|| anyhow!("nobody speaks yet: begin with tcp or udp"));
    match word {
        ">" => wire.say(current?, true, &content(rest)?),
        "<" => wire.say(current?, false, &content(rest)?),
        "close" => wire.close(current?),
        "tcp" | "udp" => {
            let [client, server] = words(rest)?;
            let transport = if word == "tcp" {
                Transport::Tcp
            } else {
                Transport::Udp
            };
            let opened = Conversation::new(transport, end(client, hosts)?, end(server, hosts)?);
            *conversation = Some(wire.open(opened)?);
            Ok(())
        }
        "ping" => {
            let [client, server] = words(rest)?;
            wire.ping(host(client, hosts)?, host(server, hosts)?)
        }
        "ip" => {
            let [protocol, client, server] = words(rest)?;
            wire.ip(
                protocol.parse()?,
                host(client, hosts)?,
                host(server, hosts)?,
            )
        }
        "frame" => {
            wire.frame(u16::from_str_radix(rest, 16)?, &[0; 46]);
            Ok(())
        }
        other => bail!("{other:?} is none of > < close tcp udp ping ip frame"),
    }
}

fn words<const COUNT: usize>(text: &str) -> Result<[&str; COUNT]> {
    let words: Vec<&str> = text.split_whitespace().take(COUNT).collect();
    words
        .try_into()
        .map_err(|_| anyhow!("{COUNT} words are needed"))
}

fn host(name: &str, hosts: &BTreeMap<String, IpAddr>) -> Result<IpAddr> {
    hosts
        .get(name)
        .copied()
        .ok_or_else(|| anyhow!("host {name} is not among the hosts"))
}

fn end(text: &str, hosts: &BTreeMap<String, IpAddr>) -> Result<(IpAddr, u16)> {
    let (name, port) = text
        .rsplit_once(':')
        .ok_or_else(|| anyhow!("{text} is not HOST:PORT"))?;
    Ok((host(name, hosts)?, port.parse()?))
}

/// Quoted text with escapes, or hexadecimal bytes; what follows the closing quote is a remark.
fn content(text: &str) -> Result<Vec<u8>> {
    let text = text.trim();
    let Some(quoted) = text.strip_prefix('"') else {
        let bytes = text
            .split_whitespace()
            .map_while(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Vec<u8> = bytes.collect();
        ensure!(
            !bytes.is_empty(),
            "neither text in quotes nor hexadecimal bytes"
        );
        return Ok(bytes);
    };
    let mut bytes = Vec::new();
    let mut characters = quoted.chars();
    loop {
        match characters
            .next()
            .ok_or_else(|| anyhow!("the quote is not closed"))?
        {
            '"' => return Ok(bytes),
            '\\' => bytes.push(escaped(&mut characters)?),
            character => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
}

fn escaped(characters: &mut std::str::Chars<'_>) -> Result<u8> {
    Ok(match characters.next() {
        Some('r') => b'\r',
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('0') => 0,
        Some('\\') => b'\\',
        Some('"') => b'"',
        Some('x') => u8::from_str_radix(&characters.by_ref().take(2).collect::<String>(), 16)?,
        other => bail!("\\{} is no escape", other.unwrap_or(' ')),
    })
}
