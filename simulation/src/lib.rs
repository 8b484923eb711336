//! The whole choreography in one process, where everything that can go wrong does, repeatably.
//!
//! The participants are the real ones: the real loop, the real rules. What they stand on is not:
//! a bus and databases that fail by dice, and a clock that jumps. One seed decides everything, so a
//! seed that fails fails again. A [`World`](world::World) is one such run; [`check`] says what must
//! hold at its end; a [`campaign`] runs worlds by the thousand.

pub mod assembly;
mod broker;
mod bus;
pub mod campaign;
mod chance;
pub mod check;
pub mod fate;
pub mod fault;
mod fit;
mod ledger;
mod life;
mod operator;
mod orders;
pub mod plan;
mod replica;
mod routes;
mod storage;
pub mod trace;
pub mod world;
