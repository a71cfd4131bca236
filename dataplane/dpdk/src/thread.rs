//! Threads of our own that DPDK knows, so that they get a cache in every pool.

use std::cell::RefCell;
use std::sync::Arc;

use crate::eal::{self, Environment};
use crate::error::{self, ThreadError};

/// Ends the registration with the thread, and keeps the environment until then.
struct Registration {
    _environment: Arc<Environment>,
}

thread_local! {
    static REGISTRATION: RefCell<Option<Registration>> = const { RefCell::new(None) };
}

/// Makes the calling thread known to DPDK until it ends: without it allocating and freeing buffers takes
/// the slow, shared way. A second call does nothing.
pub fn register_thread() -> Result<(), ThreadError> {
    REGISTRATION.with_borrow_mut(|registration| {
        if registration.is_some() {
            return Ok(());
        }
        let environment = eal::running().ok_or(ThreadError::NotStarted)?;
        // SAFETY: the environment runs and is kept; the thread is not registered yet.
        if unsafe { dpdk_sys::rte_thread_register() } != 0 {
            return Err(ThreadError::Refused {
                reason: error::text(error::last()),
            });
        }
        *registration = Some(Registration {
            _environment: environment,
        });
        Ok(())
    })
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: runs on the registered thread as it ends; the environment is still held.
        unsafe { dpdk_sys::rte_thread_unregister() };
    }
}
