//! What a state is told by.

use super::World;
use crate::base::hash::Hash128;
use crate::reduction::explored::{Cover, Covers};

impl World {
    /// The fingerprint of this state, with who knows of what.
    pub(crate) fn full_fingerprint(&mut self) -> Hash128 {
        let mut hash = self.fingerprint();
        if self.memory.tracks {
            hash.mix_hash(self.memory.clocks.items().0);
        }
        hash
    }

    /// The fingerprint of this state: without what it is searched with.
    pub(crate) fn fingerprint(&mut self) -> Hash128 {
        #[cfg(test)]
        if let Some(hash) = self.blind_fingerprint() {
            return hash;
        }
        let mut hash = self.memory.hash;
        hash.mix_hash(self.subject.monitor.hash());
        for cpu in &self.cpus[..self.options.cpus] {
            hash.mix(cpu.word());
        }
        let mut threads = Hash128::ZERO;
        for (slot, thread) in self.threads.iter().enumerate() {
            let Some(thread) = thread else { continue };
            // A chain for each: the processor works on several at once.
            let mut own = Hash128(1 + slot as u64, 1 + slot as u64);
            thread.hash_into(&mut own);
            threads.add(own);
        }
        hash.mix_hash(threads);
        hash.mix(u64::from(self.phase.expirations));
        if self.is_tso() {
            self.memory.buffers.hash_into(&mut hash);
        }
        self.memory.clocks.hash_messages(&mut hash);
        hash
    }

    /// What this state is searched with: what was moved, and who knows of what.
    pub(crate) fn cover(&mut self, covers: &mut Covers) -> Cover {
        let (mut all, moved) = self.reduction.movers.moved();
        let items = if self.memory.tracks {
            let (sum, items) = self.memory.clocks.items();
            all.add(sum);
            items
        } else {
            &[]
        };
        covers.of(all, moved.chain(items.iter().copied()))
    }

    /// What is left at the end of a run, without what the contexts remember.
    pub(crate) fn end_hash(&mut self) -> Hash128 {
        let mut hash = self.memory.hash;
        for cpu in &self.cpus[..self.options.cpus] {
            hash.mix(cpu.word());
        }
        hash
    }
}
