//! How a participant is put together. The shipped way is to use what it is given; a planted bug
//! puts a wrapper of its own in between.

use std::sync::Arc;

use regist_worker::decide::RegistDecider;
use saga::bus::Bus;
use saga::store::Store;
use ticket_worker::decide::TicketDecider;

/// Called once for each life of each replica.
pub trait Assembly: Send + Sync + 'static {
    fn bus(&self, bus: Arc<dyn Bus>) -> Arc<dyn Bus> {
        bus
    }

    fn ticket_store(&self, store: Box<dyn Store<TicketDecider>>) -> Box<dyn Store<TicketDecider>> {
        store
    }

    fn regist_store(&self, store: Box<dyn Store<RegistDecider>>) -> Box<dyn Store<RegistDecider>> {
        store
    }
}

/// Nothing in between.
pub struct AsShipped;

impl Assembly for AsShipped {}
