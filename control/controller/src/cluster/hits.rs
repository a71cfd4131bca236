//! How often the rules of each document decided, in the whole cluster.
//!
//! A controller counts for the nodes that report to it, and tells the counts with the lease of the node; who
//! serves the node next goes on from there ([`Told`]). Who leads adds up what comes to the counts of all
//! nodes since, on what an object's status says already ([`Sums`]): so a count outlives nodes, controllers
//! and leaders, and never falls. What was counted in the last minute before a controller was lost is lost
//! with it. Memory: [`weir_kubernetes::HITS_MAX`] numbers for each node.

use std::collections::{BTreeMap, HashMap};

use weir_kubernetes::NodeReport;

/// Counts by the title of a document.
pub type Hits = BTreeMap<String, u64>;

/// What is told of the nodes that this controller serves. Those that it served before are kept: what was
/// counted of them then is in what others tell.
#[derive(Debug, Default)]
pub struct Told {
    nodes: HashMap<String, Going>,
}

/// How one node's counts go on.
#[derive(Debug, Default)]
struct Going {
    subscription: Option<u64>,
    /// What the controller before told last.
    base: Hits,
    /// What this one had counted then, of which that tells already.
    included: Hits,
    /// What this one had counted when it told last.
    counted: Hits,
}

/// What comes to the counts of all nodes.
#[derive(Debug, Default)]
pub struct Sums {
    sums: BTreeMap<String, u64>,
    seen: HashMap<String, Hits>,
    begun: bool,
}

impl Told {
    /// What is to be told of a node. `counted`: what this controller has counted of it since it began;
    /// `others`: what the lease says, where another controller wrote it.
    pub fn hits(
        &mut self,
        node: &str,
        subscription: u64,
        counted: Hits,
        others: impl FnOnce() -> Option<Hits>,
    ) -> Hits {
        let going = self.nodes.entry(node.to_owned()).or_default();
        if going.subscription.replace(subscription) != Some(subscription)
            && let Some(base) = others()
        {
            going.base = base;
            going.included = std::mem::take(&mut going.counted);
        }
        let mut hits = going.base.clone();
        for (title, count) in &counted {
            let included = going.included.get(title).copied().unwrap_or(0);
            let more = count.saturating_sub(included);
            if more > 0 {
                let sum = hits.entry(title.clone()).or_default();
                *sum = sum.saturating_add(more);
            }
        }
        going.counted = counted;
        hits
    }
}

impl Sums {
    /// Takes what all nodes tell. `stored`: what a status says, where nothing is known yet.
    pub fn take<'a>(
        &mut self,
        reports: impl IntoIterator<Item = &'a NodeReport>,
        stored: impl Fn(&str) -> Option<u64>,
    ) {
        let mut more: BTreeMap<&str, u64> = BTreeMap::new();
        let mut seen: HashMap<&str, &Hits> = HashMap::new();
        for report in reports {
            let before = self.seen.get(&report.node);
            for (title, count) in &report.hits {
                let before = before.and_then(|it| it.get(title)).copied().unwrap_or(0);
                let sum = more.entry(title).or_default();
                *sum = sum.saturating_add(count.saturating_sub(before));
            }
            seen.insert(&report.node, &report.hits);
        }
        for (title, more) in more {
            match self.sums.get_mut(title) {
                Some(sum) => *sum = sum.saturating_add(more),
                // Both are the least that there were.
                None => {
                    let sum = stored(title).unwrap_or(0);
                    let sum = match self.begun {
                        true => sum.saturating_add(more),
                        false => sum.max(more),
                    };
                    self.sums.insert(title.to_owned(), sum);
                }
            }
        }
        for (node, hits) in seen {
            match self.seen.get_mut(node) {
                Some(seen) => seen.clone_from(hits),
                None => drop(self.seen.insert(node.to_owned(), hits.clone())),
            }
        }
        self.begun = true;
    }

    /// The count of a document; none where nobody told of it.
    pub fn of(&self, title: &str) -> Option<u64> {
        self.sums.get(title).copied()
    }

    /// The document is gone; another of its name begins anew.
    pub fn forget(&mut self, title: &str) {
        if self.sums.contains_key(title) {
            self.sums.insert(title.to_owned(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(number: u64) -> Hits {
        [("allowlist shop/db".to_owned(), number)].into()
    }

    fn report(node: &str, number: u64) -> NodeReport {
        NodeReport {
            node: node.to_owned(),
            hits: hits(number),
            ..NodeReport::default()
        }
    }

    #[test]
    fn who_serves_a_node_next_goes_on_counting() {
        let (mut first, mut second) = (Told::default(), Told::default());
        assert_eq!(first.hits("a", 1, hits(5), || None), hits(5));
        assert_eq!(first.hits("a", 1, hits(7), || panic!("the same")), hits(7));
        // Another takes over, then it comes back.
        assert_eq!(second.hits("a", 1, hits(2), || Some(hits(7))), hits(9));
        assert_eq!(first.hits("a", 2, hits(8), || Some(hits(9))), hits(10));
        assert_eq!(first.hits("a", 2, hits(9), || None), hits(11));
        // Its own lease says nothing new.
        assert_eq!(first.hits("a", 3, hits(9), || None), hits(11));
    }

    #[test]
    fn sums_never_fall_and_count_nothing_twice() {
        let title = "allowlist shop/db";
        let stored = |_: &str| Some(100);
        let mut sums = Sums::default();
        sums.take(&[report("a", 40), report("b", 50)], stored);
        assert_eq!(sums.of(title), Some(100), "of before");
        sums.take(&[report("a", 41), report("b", 50)], stored);
        assert_eq!(sums.of(title), Some(101));
        // A node goes, another comes.
        sums.take(&[report("b", 52), report("c", 3)], stored);
        assert_eq!(sums.of(title), Some(106));
        sums.take(&[report("a", 1)], stored);
        assert_eq!(sums.of(title), Some(106), "it counts anew");
        sums.forget(title);
        sums.take(&[report("a", 3)], stored);
        assert_eq!(sums.of(title), Some(2));
        let mut fresh = Sums::default();
        fresh.take(&[report("a", 40), report("b", 50)], |_| Some(60));
        assert_eq!(fresh.of(title), Some(90), "the status was behind");
    }
}
