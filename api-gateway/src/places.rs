//! Places that callers take up while something goes on for them: so many in all, and so many of each
//! caller that is told apart. Memory is bounded by the places, not by who asks for one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones share the places.
#[derive(Clone)]
pub(crate) struct Places {
    most: usize,
    most_of_caller: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    of_caller: HashMap<Arc<str>, usize>,
}

/// Leaving scope gives it up.
pub(crate) struct Place {
    caller: Arc<str>,
    places: Places,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All are taken.
    All,
    /// All are taken that one caller may have.
    Caller,
}

impl Places {
    pub(crate) fn new(most: usize, most_of_caller: usize) -> Self {
        Self {
            most,
            most_of_caller,
            taken: Arc::default(),
        }
    }

    /// `caller` is empty where callers are not told apart.
    pub(crate) fn take(&self, caller: &Arc<str>) -> Result<Place, Full> {
        self.admit(caller, 1)?;
        Ok(self.place(caller))
    }

    /// As many places at the same moment, or none.
    pub(crate) fn take_all(&self, caller: &Arc<str>, count: usize) -> Result<Vec<Place>, Full> {
        self.admit(caller, count)?;
        Ok((0..count).map(|_| self.place(caller)).collect())
    }

    fn admit(&self, caller: &Arc<str>, count: usize) -> Result<(), Full> {
        let mut taken = self.lock();
        if taken.all + count > self.most {
            return Err(Full::All);
        }
        if !caller.is_empty() {
            let of_caller = taken.of_caller.get(caller).copied().unwrap_or(0) + count;
            if of_caller > self.most_of_caller {
                return Err(Full::Caller);
            }
            taken.of_caller.insert(Arc::clone(caller), of_caller);
        }
        taken.all += count;
        Ok(())
    }

    fn place(&self, caller: &Arc<str>) -> Place {
        Place {
            caller: Arc::clone(caller),
            places: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // No code that holds the lock can leave the counts half changed.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(of_caller) = taken.of_caller.get_mut(&self.caller) {
            *of_caller -= 1;
            if *of_caller == 0 {
                taken.of_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(5, 2)
    }

    fn take(places: &Places, caller: &str) -> Result<Place, Full> {
        places.take(&caller.into())
    }

    #[test]
    fn there_are_so_many_and_who_leaves_is_forgotten() {
        let places = places();
        let taken: Vec<_> = (0..5).map(|_| take(&places, "")).collect();
        assert!(taken.iter().all(Result::is_ok));
        assert_eq!(take(&places, "7").err(), Some(Full::All));
        drop(taken);
        let taken = [take(&places, "7"), take(&places, "8")];
        assert_eq!(places.lock().of_caller.len(), 2);
        drop(taken);
        assert_eq!(places.lock().of_caller.len(), 0);
        assert_eq!(places.lock().all, 0);
    }

    #[test]
    fn a_caller_has_its_part_and_leaves_the_rest_to_others() {
        let places = places();
        let of_seven = [take(&places, "7"), take(&places, "7")];
        assert!(of_seven.iter().all(Result::is_ok));
        assert_eq!(take(&places, "7").err(), Some(Full::Caller));
        let of_eight = take(&places, "8");
        assert!(of_eight.is_ok());
        drop(of_seven);
        assert!(take(&places, "7").is_ok());
    }

    #[test]
    fn some_are_taken_at_once_or_none_of_them() {
        let (places, seven) = (places(), Arc::from("7"));
        let one = places.take(&seven);
        assert_eq!(places.take_all(&seven, 2).err(), Some(Full::Caller));
        assert_eq!(places.take_all(&"".into(), 5).err(), Some(Full::All));
        assert_eq!(places.lock().all, 1);
        drop(one);
        let both = places.take_all(&seven, 2);
        assert_eq!(both.map(|both| both.len()), Ok(2));
        assert_eq!(places.lock().all, 0);
    }
}
