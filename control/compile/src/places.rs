//! What only one document can have: an address, the settings. Of two the one that came first has it,
//! and the other one waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::{Document, Kind, Located, Network, Problem};

use crate::Key;
use crate::world::workloads;

/// Something that only one can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A network, in one zone or in all.
    Address(Network, Option<u32>),
    Settings,
    /// Room among all sensors.
    Sensors,
    /// Room among all rules.
    Rules,
}

/// Whose the places are, and who waits for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Several, where they are of one mind: a workload and its service.
    holders: BTreeMap<Place, Vec<Holder>>,
    waiting: BTreeMap<Place, BTreeSet<Arc<Key>>>,
    waits: BTreeMap<Arc<Key>, Vec<Place>>,
}

#[derive(Clone, Debug)]
struct Holder {
    key: Arc<Key>,
    /// For whom.
    owners: Arc<[String]>,
}

/// What a document claims, each place with the field that says so.
pub(crate) struct Claims {
    pub(crate) owners: Arc<[String]>,
    pub(crate) places: Vec<(Place, String)>,
}

impl Claims {
    pub(crate) fn none() -> Self {
        Self {
            owners: Arc::new([]),
            places: Vec::new(),
        }
    }

    pub(crate) fn of(document: &Document) -> Self {
        let mut places = Vec::new();
        let mut owners = Vec::new();
        let mut claim = |field: &str, addresses: &[Network], zone: Option<u32>| {
            for (index, network) in addresses.iter().enumerate() {
                places.push((
                    Place::Address(*network, zone),
                    format!("spec.{field}[{index}]"),
                ));
            }
        };
        match document {
            Document::Workload(workload) => {
                claim("addresses", &workload.spec.addresses, workload.spec.zone);
                owners.push(workload.metadata.full_name());
            }
            Document::Service(service) => {
                let spec = &service.spec;
                claim("addresses", &spec.addresses, spec.zone);
                claim("externalAddresses", &spec.external_addresses, spec.zone);
                owners = workloads(service);
            }
            Document::Settings(_) => places.push((Place::Settings, "kind".to_owned())),
            _ => {}
        }
        Self {
            owners: owners.into(),
            places,
        }
    }
}

impl Places {
    /// Whose address it is: the full name of the one workload, where there is one.
    pub(crate) fn owner(&self, network: Network, zone: Option<u32>) -> Option<&str> {
        let holders = self.holders.get(&Place::Address(network, zone))?;
        match &*holders.first()?.owners {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Whether services alone claim an address, and no workload.
    pub(crate) fn is_of_services(&self, network: Network, zone: Option<u32>) -> bool {
        let holders = self.holders.get(&Place::Address(network, zone));
        let mut holders = holders.into_iter().flatten();
        holders.all(|holder| holder.key.kind == Kind::Service)
    }

    /// The zones in which somebody has exactly this network.
    pub(crate) fn zones(&self, network: Network) -> impl Iterator<Item = Option<u32>> + '_ {
        let range = Place::Address(network, None)..=Place::Address(network, Some(u32::MAX));
        self.holders
            .range(range)
            .filter_map(|(place, _)| match place {
                Place::Address(_, zone) => Some(*zone),
                _ => None,
            })
    }

    /// Who has a place otherwise than for these.
    pub(crate) fn other(&self, place: Place, claims: &Claims, key: &Key) -> Option<&Arc<Key>> {
        let holder = self
            .holders
            .get(&place)?
            .iter()
            .find(|one| *one.key != *key)?;
        let agreed = place != Place::Settings && holder.owners == claims.owners;
        (!agreed).then_some(&holder.key)
    }

    pub(crate) fn hold(&mut self, key: &Arc<Key>, claims: &Claims) {
        for (place, _) in &claims.places {
            let holders = self.holders.entry(*place).or_default();
            if holders.iter().all(|one| one.key != *key) {
                let (key, owners) = (key.clone(), claims.owners.clone());
                holders.push(Holder { key, owners });
            }
        }
    }

    pub(crate) fn leave(&mut self, key: &Key, claims: &Claims) {
        for (place, _) in &claims.places {
            if let Some(holders) = self.holders.get_mut(place) {
                holders.retain(|one| *one.key != *key);
                if holders.is_empty() {
                    self.holders.remove(place);
                }
            }
        }
    }

    /// The document is to be tried again when one of these changes hands.
    pub(crate) fn wait(&mut self, key: &Arc<Key>, places: Vec<Place>) {
        self.stop_waiting(key);
        for place in &places {
            self.waiting.entry(*place).or_default().insert(key.clone());
        }
        self.waits.insert(key.clone(), places);
    }

    pub(crate) fn stop_waiting(&mut self, key: &Key) {
        let Some(places) = self.waits.remove(key) else {
            return;
        };
        for place in places {
            if let Some(keys) = self.waiting.get_mut(&place) {
                keys.remove(key);
                if keys.is_empty() {
                    self.waiting.remove(&place);
                }
            }
        }
    }

    /// Who waits for a place.
    pub(crate) fn waiting(&self, place: &Place) -> impl Iterator<Item = &Arc<Key>> {
        self.waiting.get(place).into_iter().flatten()
    }
}

/// Why a document cannot have a place.
pub(crate) fn collision(
    located: &Located<Document>,
    place: Place,
    field: &str,
    first: &Located<Document>,
) -> Problem {
    match place {
        Place::Address(network, zone) => {
            let place = match zone {
                Some(zone) => format!("{network} in zone {zone}"),
                None => network.to_string(),
            };
            located.problem(
                field,
                format!(
                    "{place} belongs to {} already ({})",
                    first.value.title(),
                    first.place()
                ),
                "give it to one of the two, or tell them apart by zone",
            )
        }
        _ => located.problem(
            field,
            format!("there are settings in {} already", first.place()),
            "put everything into one of the two: settings hold for everything",
        ),
    }
}
