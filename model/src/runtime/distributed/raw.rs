//! The shim over c10d's groups (csrc/group.cpp).

use std::ffi::{c_char, c_int};

use torch_sys::C_tensor;

use super::store::RawStore;

#[repr(C)]
pub(super) struct RawGroup {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct RawWork {
    _opaque: [u8; 0],
}

#[allow(unsafe_code, reason = "declarations of the shim")]
unsafe extern "C" {
    pub(super) fn flava_group_gloo(
        store: *const RawStore,
        rank: c_int,
        world: c_int,
        timeout_ms: i64,
        address: *const c_char,
        is_interface: c_int,
        out: *mut *mut RawGroup,
    ) -> c_int;
    pub(super) fn flava_group_nccl(
        store: *const RawStore,
        rank: c_int,
        world: c_int,
        timeout_ms: i64,
        device: c_int,
        out: *mut *mut RawGroup,
    ) -> c_int;
    pub(super) fn flava_group_sum(
        group: *const RawGroup,
        tensor: *mut C_tensor,
        out: *mut *mut RawWork,
    ) -> c_int;
    pub(super) fn flava_group_all_gather(
        group: *const RawGroup,
        into: *mut C_tensor,
        from: *mut C_tensor,
        out: *mut *mut RawWork,
    ) -> c_int;
    pub(super) fn flava_group_reduce_scatter(
        group: *const RawGroup,
        into: *mut C_tensor,
        from: *mut C_tensor,
        out: *mut *mut RawWork,
    ) -> c_int;
    pub(super) fn flava_group_broadcast(
        group: *const RawGroup,
        tensor: *mut C_tensor,
        root: c_int,
        out: *mut *mut RawWork,
    ) -> c_int;
    pub(super) fn flava_group_free(group: *mut RawGroup);
    pub(super) fn flava_work_wait(work: *const RawWork) -> c_int;
    pub(super) fn flava_work_free(work: *mut RawWork);
}
