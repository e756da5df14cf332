//! Who has which slot.

use super::topology::{Endpoint, Topology};
use crate::slot::SLOT_COUNT;

/// The owner of each slot, as a number that its maker gave a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotMap {
    owners: Box<[u16]>,
}

impl SlotMap {
    const NOBODY: u16 = u16::MAX;

    /// A map on which nobody has a slot.
    pub(crate) fn new() -> SlotMap {
        SlotMap { owners: vec![SlotMap::NOBODY; usize::from(SLOT_COUNT)].into() }
    }

    /// The slots of each primary are those of the owner that `owner_of` names.
    pub(crate) fn from_topology(topology: &Topology, owner_of: impl Fn(&Endpoint) -> Option<u16>) -> SlotMap {
        let mut map = SlotMap::new();
        for shard in &topology.shards {
            let owner = owner_of(&shard.primary);
            for &(first, last) in &shard.slots {
                (first..=last).for_each(|slot| map.set(slot, owner));
            }
        }
        map
    }

    pub(crate) fn get(&self, slot: u16) -> Option<u16> {
        self.owners.get(usize::from(slot)).copied().filter(|&owner| owner != SlotMap::NOBODY)
    }

    pub(crate) fn set(&mut self, slot: u16, owner: Option<u16>) {
        if let Some(place) = self.owners.get_mut(usize::from(slot)) {
            *place = owner.unwrap_or(SlotMap::NOBODY);
        }
    }

    /// The first slot of each owner, ascending: the order in which all shards are looked through.
    pub(crate) fn first_slots(&self) -> Vec<u16> {
        let mut seen = vec![false; usize::from(SlotMap::NOBODY)];
        let mut first = Vec::new();
        for (&owner, slot) in self.owners.iter().zip(0..) {
            if let Some(seen) = seen.get_mut(usize::from(owner)).filter(|seen| !**seen) {
                *seen = true;
                first.push(slot);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::Shard;
    use super::*;

    #[test]
    fn slots_are_those_of_the_topology_until_set_otherwise() {
        let shard = |slots: &[(u16, u16)], port| Shard {
            slots: slots.to_vec(),
            primary: Endpoint::new("h", port).expect("an endpoint"),
            replicas: Vec::new(),
        };
        let shards = vec![shard(&[(0, 99), (200, 16383)], 1), shard(&[(100, 150)], 2), shard(&[], 3)];
        let mut map = SlotMap::from_topology(&Topology { shards }, |primary| Some(primary.port - 1));
        let owners = [0, 99, 100, 150, 151, 199, 200, 16383, 16384, u16::MAX].map(|slot| map.get(slot));
        let expected = [Some(0), Some(0), Some(1), Some(1), None, None, Some(0), Some(0), None, None];
        assert_eq!(owners, expected);
        assert_eq!(map.first_slots(), [0, 100]);
        map.set(0, Some(2));
        map.set(1, None);
        map.set(16384, Some(2));
        assert_eq!((map.get(0), map.get(1), map.get(2)), (Some(2), None, Some(0)));
        assert_eq!(map.first_slots(), [0, 2, 100]);
        assert!(SlotMap::new().first_slots().is_empty());
    }
}
