//! c10d's key-value store, which all processes of a run share.
#![allow(
    unsafe_code,
    reason = "the shim takes and gives raw pointers to c10d's store"
)]

use std::{
    ffi::{CString, c_char, c_int, c_void},
    net::TcpListener,
    os::fd::IntoRawFd,
    sync::Arc,
    time::Duration,
};

use super::check;
use crate::{Error, Result};

#[repr(C)]
pub(super) struct RawStore {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn flava_store_open(
        host: *const c_char,
        port: c_int,
        serve: c_int,
        listening: c_int,
        timeout_ms: i64,
        out: *mut *mut RawStore,
    ) -> c_int;
    fn flava_store_below(
        store: *const RawStore,
        prefix: *const c_char,
        out: *mut *mut RawStore,
    ) -> c_int;
    fn flava_store_set(
        store: *const RawStore,
        key: *const c_char,
        bytes: *const u8,
        count: usize,
    ) -> c_int;
    fn flava_store_get(
        store: *const RawStore,
        key: *const c_char,
        data: *mut c_void,
        take: extern "C" fn(*mut c_void, *const u8, usize),
    ) -> c_int;
    fn flava_store_set_once(
        store: *const RawStore,
        key: *const c_char,
        bytes: *const u8,
        count: usize,
        data: *mut c_void,
        take: extern "C" fn(*mut c_void, *const u8, usize),
    ) -> c_int;
    fn flava_store_add(
        store: *const RawStore,
        key: *const c_char,
        amount: i64,
        sum: *mut i64,
    ) -> c_int;
    fn flava_store_has(store: *const RawStore, key: *const c_char, there: *mut c_int) -> c_int;
    fn flava_store_wait(store: *const RawStore, key: *const c_char, timeout_ms: i64) -> c_int;
    fn flava_store_delete(store: *const RawStore, key: *const c_char) -> c_int;
    fn flava_store_free(store: *mut RawStore);
}

/// A connection to the store. Threads may share it: each call is one exchange.
#[derive(Debug)]
pub struct KeyValueStore {
    raw: *mut RawStore,
    /// What it is called where it does not answer.
    name: Arc<str>,
}

// SAFETY: c10d's store locks its connection for each call.
unsafe impl Send for KeyValueStore {}
// SAFETY: as above.
unsafe impl Sync for KeyValueStore {}

impl KeyValueStore {
    /// Serves a store on a socket that listens already, so that no other program can take its port
    /// in between.
    ///
    /// # Errors
    /// If libtorch cannot serve on it.
    pub fn serve(listener: TcpListener, timeout: Duration) -> Result<Self> {
        let address = listener
            .local_addr()
            .map_err(|e| Error::Process(format!("the store's socket: {e}")))?;
        let port = c_int::from(address.port());
        // SAFETY: the socket is given to the store, which closes it.
        open("127.0.0.1", port, true, listener.into_raw_fd(), timeout)
    }

    /// Connects to the store at `host`, or serves it there.
    ///
    /// # Errors
    /// If nobody answers within the time-out, or the port is taken.
    pub fn open(host: &str, port: u16, serve: bool, timeout: Duration) -> Result<Self> {
        open(host, c_int::from(port), serve, -1, timeout)
    }

    /// The same, under the name that it has where it does not answer.
    #[must_use]
    pub(super) fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    pub(super) fn raw(&self) -> *const RawStore {
        self.raw
    }

    /// What came of an exchange.
    fn check(&self, code: c_int) -> Result<()> {
        let name = &self.name;
        check(code).map_err(|error| Error::Process(format!("no answer from {name}: {error}")))
    }

    /// The same store, whose keys begin with `prefix`.
    ///
    /// # Errors
    /// If the prefix holds a zero byte.
    pub fn below(&self, prefix: &str) -> Result<Self> {
        let prefix = text(prefix)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the store is open; the shim stores a new one and returns 0, or neither.
        check(unsafe { flava_store_below(self.raw, prefix.as_ptr(), &raw mut raw) })?;
        let name = Arc::clone(&self.name);
        Ok(Self { raw, name })
    }

    /// Sets a key.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let key = text(key)?;
        // SAFETY: the store is open, and the bytes outlive the call.
        self.check(unsafe { flava_store_set(self.raw, key.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// The value of a key, waiting for it as long as the store's time-out.
    ///
    /// # Errors
    /// If it is not set in that time, or the store is gone.
    pub fn get(&self, key: &str) -> Result<Vec<u8>> {
        let key = text(key)?;
        let mut value: Vec<u8> = Vec::new();
        // SAFETY: the store is open, and the vector outlives the call.
        self.check(unsafe {
            flava_store_get(self.raw, key.as_ptr(), (&raw mut value).cast(), take)
        })?;
        Ok(value)
    }

    /// Sets a key unless it is set; the value that it has then. Of several processes one sets it.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn set_once(&self, key: &str, wanted: &[u8]) -> Result<Vec<u8>> {
        let key = text(key)?;
        let mut value: Vec<u8> = Vec::new();
        let (bytes, count) = (wanted.as_ptr(), wanted.len());
        // SAFETY: the store is open, and the bytes and the vector outlive the call.
        self.check(unsafe {
            let data = (&raw mut value).cast();
            flava_store_set_once(self.raw, key.as_ptr(), bytes, count, data, take)
        })?;
        Ok(value)
    }

    /// Adds to a counter, which begins at 0; the sum after it. Every process that adds gets another
    /// sum.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn add(&self, key: &str, amount: i64) -> Result<i64> {
        let key = text(key)?;
        let mut sum = 0;
        // SAFETY: the store is open; writes a number.
        self.check(unsafe { flava_store_add(self.raw, key.as_ptr(), amount, &raw mut sum) })?;
        Ok(sum)
    }

    /// Whether a key is set.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn has(&self, key: &str) -> Result<bool> {
        let key = text(key)?;
        let mut there = 0;
        // SAFETY: the store is open; writes a number.
        self.check(unsafe { flava_store_has(self.raw, key.as_ptr(), &raw mut there) })?;
        Ok(there != 0)
    }

    /// Waits until a key is set.
    ///
    /// # Errors
    /// If it is not set in that time, or the store is gone.
    pub fn wait(&self, key: &str, timeout: Duration) -> Result<()> {
        let key = text(key)?;
        let timeout = timeout.as_millis() as i64;
        // SAFETY: the store is open.
        self.check(unsafe { flava_store_wait(self.raw, key.as_ptr(), timeout) })
    }

    /// Removes a key.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn delete(&self, key: &str) -> Result<()> {
        let key = text(key)?;
        // SAFETY: the store is open.
        self.check(unsafe { flava_store_delete(self.raw, key.as_ptr()) })
    }
}

impl Drop for KeyValueStore {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { flava_store_free(self.raw) }
    }
}

/// Appends bytes of the shim's to a vector of ours.
extern "C" fn take(data: *mut c_void, bytes: *const u8, count: usize) {
    // SAFETY: `data` is a vector that its caller has; so many bytes are there for this call.
    unsafe {
        let value = &mut *data.cast::<Vec<u8>>();
        if count > 0 {
            value.extend_from_slice(std::slice::from_raw_parts(bytes, count));
        }
    }
}

fn open(
    host: &str,
    port: c_int,
    serve: bool,
    fd: c_int,
    timeout: Duration,
) -> Result<KeyValueStore> {
    let name = format!("the run's store at {host}:{port}").into();
    let host = text(host)?;
    let mut raw = std::ptr::null_mut();
    let timeout = timeout.as_millis() as i64;
    // SAFETY: the shim stores a new store and returns 0, or neither.
    check(unsafe {
        flava_store_open(
            host.as_ptr(),
            port,
            c_int::from(serve),
            fd,
            timeout,
            &raw mut raw,
        )
    })?;
    Ok(KeyValueStore { raw, name })
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Process(format!("{text:?} holds a zero byte")))
}
