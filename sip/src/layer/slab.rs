//! Slots for values, named by a number that is not used again: an old key finds nothing, never a newcomer.

/// Slots are made in blocks, so that growth copies nothing.
const BLOCK: usize = 256;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub(super) struct Slab<T> {
    blocks: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { blocks: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Stores `value`; its slot, and its key for good.
    pub(super) fn insert(&mut self, value: T) -> (u32, u64) {
        self.len += 1;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.grow(),
        };
        let at = self.at_mut(slot);
        at.value = Some(value);
        (slot, u64::from(at.generation) << 32 | u64::from(slot))
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let at = self.at_mut(slot);
        let value = at.value.take()?;
        at.generation = at.generation.wrapping_add(1);
        self.free.push(slot);
        self.len -= 1;
        Some(value)
    }

    /// The slot that a key names, if its value is still there.
    pub(super) fn slot_of(&self, key: u64) -> Option<u32> {
        let slot = key as u32;
        let at = self.blocks.get(slot as usize / BLOCK)?.get(slot as usize % BLOCK)?;
        (at.generation == (key >> 32) as u32 && at.value.is_some()).then_some(slot)
    }

    pub(super) fn key_of(&self, slot: u32) -> u64 {
        u64::from(self.blocks[slot as usize / BLOCK][slot as usize % BLOCK].generation) << 32 | u64::from(slot)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.blocks.get(slot as usize / BLOCK)?.get(slot as usize % BLOCK)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.blocks.get_mut(slot as usize / BLOCK)?.get_mut(slot as usize % BLOCK)?.value.as_mut()
    }

    fn at_mut(&mut self, slot: u32) -> &mut Slot<T> {
        &mut self.blocks[slot as usize / BLOCK][slot as usize % BLOCK]
    }

    fn grow(&mut self) -> u32 {
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let before = (self.blocks.len() - 1) * BLOCK;
        let block = self.blocks.last_mut().expect("a block was pushed if there was none");
        block.push(Slot { generation: 0, value: None });
        (before + block.len() - 1) as u32
    }
}
