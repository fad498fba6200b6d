//! A disk in memory that knows what is durable: for tests of full disks, failed syncs and crashes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};

/// What a device writes as a whole, in bytes; a crash may keep one sector and lose the one before it.
#[cfg(test)]
const SECTOR_BYTES: usize = 512;

/// A disk whose handles share one content.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Content>,
    faults: Faults,
}

/// What goes wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// Bytes that the disk can still take.
    pub(crate) room_bytes: Option<u64>,
    /// Every write takes at most so many bytes.
    pub(crate) write_bytes_max: Option<usize>,
    /// Writes fail with an I/O error.
    pub(crate) writes_fail: bool,
    /// Syncs of files fail.
    pub(crate) syncs_fail: bool,
    /// Nothing works any more: the machine is off.
    pub(crate) dead: bool,
}

#[derive(Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Bytes of `now` before this are as in `durable`.
    clean_to: usize,
}

struct MemoryFile {
    disk: MemoryDisk,
    number: usize,
}

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes what goes wrong from now on.
    #[cfg(test)]
    pub(crate) fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
    }

    /// The content of a file.
    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let number = *state.names.get(name)?;
        state.files.get(number).map(|content| content.now.clone())
    }

    /// Puts a durable file in place.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let number = state.files.len();
        state.files.push(Content {
            clean_to: bytes.len(),
            durable: bytes.clone(),
            now: bytes,
        });
        state.names.insert(name.to_owned(), number);
        state.durable_names.insert(name.to_owned(), number);
    }

    /// What a kernel may do after a sync that failed: take pages for clean that never reached the disk.
    #[cfg(test)]
    pub(crate) fn forget_dirty_pages(&self) {
        for content in &mut self.lock().files {
            let len = content.now.len();
            content.durable.resize(len, 0);
            content.clean_to = len;
        }
    }

    /// The disk after a power cut. `chance(n)` draws from `0..n` what happened to each thing that was not durable: names that
    /// changed, the length of a file, each sector.
    #[cfg(test)]
    pub(crate) fn after_crash(&self, mut chance: impl FnMut(usize) -> usize) -> Self {
        let state = self.lock();
        let names = match chance(2) {
            0 => state.durable_names.clone(),
            _ => state.names.clone(),
        };
        let files: Vec<Content> = state
            .files
            .iter()
            .map(|content| {
                let bytes = content.crash(&mut chance);
                Content {
                    clean_to: bytes.len(),
                    durable: bytes.clone(),
                    now: bytes,
                }
            })
            .collect();
        Self(Arc::new(Mutex::new(State {
            durable_names: names.clone(),
            names,
            files,
            faults: Faults::default(),
        })))
    }
}

#[cfg(test)]
impl Content {
    fn crash(&self, chance: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let common = self.clean_to.min(self.durable.len());
        let longest = self.now.len().max(self.durable.len());
        let len = common + chance(longest - common + 1);
        let mut bytes = self.durable.get(..common).unwrap_or_default().to_vec();
        while bytes.len() < len {
            let sector_end = ((bytes.len() / SECTOR_BYTES + 1) * SECTOR_BYTES).min(len);
            let source = match chance(3) {
                0 => &self.durable[..],
                1 => &[][..],
                _ => &self.now[..],
            };
            let range = bytes.len()..sector_end;
            bytes.extend(range.map(|at| source.get(at).copied().unwrap_or(0)));
        }
        bytes
    }
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.faults.dead {
            return Err(io::Error::other("the machine is off"));
        }
        Ok(())
    }

    fn number(&self, name: &str) -> io::Result<usize> {
        self.alive()?;
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, number: usize) -> io::Result<&mut Content> {
        self.alive()?;
        self.files
            .get_mut(number)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// How many of `wanted` bytes can be written; each costs room, be it an overwrite or not.
    fn take_room(&mut self, wanted: usize) -> io::Result<usize> {
        if self.faults.writes_fail {
            return Err(io::Error::other("the disk failed"));
        }
        let mut count = wanted.min(self.faults.write_bytes_max.unwrap_or(usize::MAX));
        if let Some(room) = &mut self.faults.room_bytes {
            count = count.min(usize::try_from(*room).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= count as u64;
        }
        Ok(count)
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.alive()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.lock().number(name)?;
        Ok(Arc::new(MemoryFile {
            disk: self.clone(),
            number,
        }))
    }

    fn open_to_write(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        {
            let mut state = self.lock();
            state.alive()?;
            let number = state.files.len();
            state.files.push(Content::default());
            state.names.insert(name.to_owned(), number);
        }
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let number = state.number(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.number(name)?;
        state.names.remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let content = &state.file(self.number)?.now;
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(content.len());
        let source = content.get(start..).unwrap_or_default();
        let count = source.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(source) {
            *to = *from;
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.alive()?;
        let count = state.take_room(bytes.len())?;
        let content = state.file(self.number)?;
        let start = usize::try_from(position).map_err(io::Error::other)?;
        if content.now.len() < start + count {
            content.now.resize(start + count, 0);
        }
        for (to, from) in content.now.iter_mut().skip(start).zip(bytes.iter().take(count)) {
            *to = *from;
        }
        content.clean_to = content.clean_to.min(start);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        if state.faults.syncs_fail {
            return Err(io::Error::other("the sync failed"));
        }
        let content = state.file(self.number)?;
        content.durable.truncate(content.clean_to);
        content
            .durable
            .extend_from_slice(content.now.get(content.clean_to..).unwrap_or_default());
        content.clean_to = content.now.len();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let content = state.file(self.number)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        content.now.resize(len, 0);
        content.clean_to = content.clean_to.min(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.lock();
        Ok(state.file(self.number)?.now.len() as u64)
    }
}
