//! Keys and values, in shards so that threads rarely meet at one lock.
//!
//! A write is put into the log and applied under the lock of its shard, in that order: the log has
//! the writes to each key in the order in which they took effect, and a write that the log refuses
//! has no effect. Writes to several shards lock them in ascending order.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use threadbare::{Mutex, MutexGuard};

use crate::log::{Log, LogFailed};

const SHARDS: usize = 64;

/// Keys that one sweep removes under one lock.
const SWEEP: usize = 128;

/// Milliseconds since 1970: a key's expiry survives a restart, so it is wall-clock time.
pub type UnixMillis = u64;

pub fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub struct Store {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    log: Log,
}

pub struct Entry {
    /// Shared, so that a large value is sent without a copy and without its shard's lock.
    pub value: Arc<[u8]>,
    pub expires: Option<UnixMillis>,
}

#[derive(Default)]
pub struct Shard {
    entries: HashMap<Vec<u8>, Entry>,
    /// The keys that expire, soonest first.
    expiries: BTreeSet<(UnixMillis, Vec<u8>)>,
}

/// A locked shard, and the log that its writes go to.
pub struct Locked<'a> {
    shard: MutexGuard<'a, Shard>,
    log: &'a Log,
}

impl Store {
    pub fn new(log: Log) -> Store {
        Store {
            shards: std::array::from_fn(|_| Mutex::new(Shard::default())),
            hasher: RandomState::new(),
            log,
        }
    }

    /// Makes writes from now on go to `log`.
    pub fn log_to(&mut self, log: Log) {
        self.log = log;
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    fn shard_of(&self, key: &[u8]) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }

    /// Locks the shard of `key`.
    pub fn lock(&self, key: &[u8]) -> Locked<'_> {
        self.lock_shard(self.shard_of(key))
    }

    fn lock_shard(&self, index: usize) -> Locked<'_> {
        Locked {
            shard: self.shards[index].lock(),
            log: &self.log,
        }
    }

    /// Locks the shards of all keys, in ascending order.
    fn lock_all<'a>(&'a self, homes: &[usize]) -> HashMap<usize, Locked<'a>> {
        let distinct: BTreeSet<usize> = homes.iter().copied().collect();
        let lock = |index| (index, self.lock_shard(index));
        distinct.into_iter().map(lock).collect()
    }

    /// The values of all keys at one moment: it never shows half of what [`Store::set_all`] sets.
    pub fn get_all(&self, keys: &[&[u8]]) -> Vec<Option<Arc<[u8]>>> {
        let homes: Vec<usize> = keys.iter().map(|key| self.shard_of(key)).collect();
        let mut locked = self.lock_all(&homes);
        let get =
            |(home, key): (&usize, &&[u8])| Some(locked.get_mut(home)?.get(key)?.value.clone());
        homes.iter().zip(keys).map(get).collect()
    }

    /// Sets all pairs at once, for every observer of several keys too.
    pub fn set_all(&self, pairs: &[(&[u8], &[u8])], record: &[&[u8]]) -> Result<(), LogFailed> {
        let homes: Vec<usize> = pairs.iter().map(|(key, _)| self.shard_of(key)).collect();
        let mut locked = self.lock_all(&homes);
        self.log.append(record)?;
        for (home, (key, value)) in homes.iter().zip(pairs) {
            if let Some(locked) = locked.get_mut(home) {
                locked.shard.insert(
                    key,
                    Entry {
                        value: Arc::from(*value),
                        expires: None,
                    },
                );
            }
        }
        Ok(())
    }

    /// Removes everything.
    pub fn clear(&self, record: &[&[u8]]) -> Result<(), LogFailed> {
        let locked: Vec<Locked> = (0..SHARDS).map(|index| self.lock_shard(index)).collect();
        self.log.append(record)?;
        let mut emptied = Vec::new();
        for mut locked in locked {
            emptied.push(std::mem::take(&mut *locked.shard));
        }
        drop(emptied); // freeing takes its time, so after the locks
        Ok(())
    }

    /// How many keys there are; those past their time and not yet swept are counted.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().entries.len())
            .sum()
    }

    /// Removes keys whose time has come; a bounded number under each lock.
    pub fn sweep(&self) {
        let now = now();
        for shard in &self.shards {
            while shard.lock().sweep(now) == SWEEP {}
        }
    }
}

impl Shard {
    fn insert(&mut self, key: &[u8], entry: Entry) {
        self.remove(key);
        if let Some(expires) = entry.expires {
            self.expiries.insert((expires, key.to_vec()));
        }
        self.entries.insert(key.to_vec(), entry);
    }

    fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(expires) = entry.expires {
            self.expiries.remove(&(expires, key.to_vec()));
        }
        Some(entry)
    }

    fn set_expiry(&mut self, key: &[u8], at: UnixMillis) {
        if let Some(entry) = self.remove(key) {
            let expires = Some(at);
            self.insert(key, Entry { expires, ..entry });
        }
    }

    /// Removes at most [`SWEEP`] keys past their time; how many.
    fn sweep(&mut self, now: UnixMillis) -> usize {
        for swept in 0..SWEEP {
            match self.expiries.first() {
                Some((expires, _)) if *expires <= now => {}
                _ => return swept,
            }
            if let Some((_, key)) = self.expiries.pop_first() {
                self.entries.remove(&key);
            }
        }
        SWEEP
    }
}

impl Locked<'_> {
    /// The entry of a key that has not expired.
    pub fn get(&mut self, key: &[u8]) -> Option<&Entry> {
        let expired = self
            .shard
            .entries
            .get(key)?
            .expires
            .is_some_and(|expires| expires <= now());
        if expired {
            self.shard.remove(key);
        }
        self.shard.entries.get(key)
    }

    pub fn set(&mut self, key: &[u8], entry: Entry) -> Result<(), LogFailed> {
        match entry.expires {
            None => self.log.append(&[b"SET", key, &entry.value])?,
            Some(at) => {
                let at = at.to_string();
                self.log
                    .append(&[b"SET", key, &entry.value, b"PXAT", at.as_bytes()])?;
            }
        }
        self.shard.insert(key, entry);
        Ok(())
    }

    /// Whether the key was there.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, LogFailed> {
        if self.get(key).is_none() {
            return Ok(false);
        }
        self.log.append(&[b"DEL", key])?;
        self.shard.remove(key);
        Ok(true)
    }

    /// Sets the expiry that the log has for a key. The key may seem to have expired: what it has
    /// yet to be given counts, and what has expired at the end of the replay goes then.
    pub fn replay_expiry(&mut self, key: &[u8], at: UnixMillis) {
        self.shard.set_expiry(key, at);
    }

    /// Whether the key was there.
    pub fn expire(&mut self, key: &[u8], at: UnixMillis) -> Result<bool, LogFailed> {
        if self.get(key).is_none() {
            return Ok(false);
        }
        self.log
            .append(&[b"PEXPIREAT", key, at.to_string().as_bytes()])?;
        self.shard.set_expiry(key, at);
        Ok(true)
    }
}
