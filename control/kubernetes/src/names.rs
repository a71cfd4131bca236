//! Strings that many objects share, and places that stay where they are.

use std::collections::HashSet;
use std::sync::Arc;

use crate::facts::{Images, Labels};

/// Keeps one copy of equal strings, and of equal sets of labels and of images.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Arc<Labels>>,
    images: HashSet<Arc<Images>>,
    /// As many as there were after the last sweep.
    kept: usize,
}

/// A name within a namespace.
pub(crate) type Name = (Arc<str>, Arc<str>);

/// Below this nothing is swept.
const SWEEP_MIN: usize = 4_096;

impl Shared {
    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        self.sweep();
        let text: Arc<str> = text.into();
        self.texts.insert(text.clone());
        text
    }

    pub(crate) fn labels(&mut self, labels: Labels) -> Arc<Labels> {
        if let Some(known) = self.labels.get(&labels) {
            return known.clone();
        }
        self.sweep();
        let labels = Arc::new(labels);
        self.labels.insert(labels.clone());
        labels
    }

    pub(crate) fn images(&mut self, images: Images) -> Arc<Images> {
        if let Some(known) = self.images.get(&images) {
            return known.clone();
        }
        self.sweep();
        let images = Arc::new(images);
        self.images.insert(images.clone());
        images
    }

    /// Drops what nobody uses any more, as often as the number doubles.
    fn sweep(&mut self) {
        let now = self.count();
        if now < SWEEP_MIN.max(self.kept * 2) {
            return;
        }
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.labels.retain(|labels| Arc::strong_count(labels) > 1);
        self.images.retain(|images| Arc::strong_count(images) > 1);
        self.kept = self.count();
    }

    fn count(&self) -> usize {
        self.texts.len() + self.labels.len() + self.images.len()
    }
}

/// Values that have a number while they are here.
#[derive(Debug)]
pub(crate) struct Places<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Places<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop()
            && let Some(place) = self.places.get_mut(number as usize)
        {
            *place = Some(value);
            return number;
        }
        self.places.push(Some(value));
        // More than four thousand million objects do not fit into any API server.
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.places.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(value)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.places.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = (0..).zip(&self.places);
        places.filter_map(|(number, place)| Some((number, place.as_ref()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
