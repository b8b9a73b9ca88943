//! Lets user-mode Linux run on processors whose state is larger than it knows of (AMX has 8 KiB): the kernel takes a
//! process's extended state whole or not at all, and user-mode Linux gives it back as far as it has room. Loaded before
//! `libc` (`LD_PRELOAD`), it adds the rest as the process has it. Nothing in those machines uses the rest.

use std::{
    cell::UnsafeCell,
    ffi::{c_int, c_long, c_void},
};

const SYS_PTRACE: c_long = 101;
const GET_SET: c_long = 0x4204;
const PUT_SET: c_long = 0x4205;
/// The register set of the extended state.
const XSTATE: usize = 0x202;
/// The requests whose answer the kernel puts where `data` points, and `libc` returns.
const PEEKS: std::ops::RangeInclusive<c_long> = 1..=3;

const SIZE: usize = 64 << 10;

/// Room for a whole state: its stacks are too small for that. One thread makes these calls.
struct Whole(UnsafeCell<[u8; SIZE]>);
unsafe impl Sync for Whole {}
static WHOLE: Whole = Whole(UnsafeCell::new([0; SIZE]));

#[repr(C)]
struct Buffer {
    base: *mut u8,
    length: usize,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// As `ptrace(2)`.
///
/// # Safety
/// As `ptrace(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(
    request: c_long,
    process: c_int,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    let plain = |data: *mut c_void| unsafe { syscall(SYS_PTRACE, request, process, address, data) };
    if PEEKS.contains(&request) {
        let mut word: c_long = 0;
        let done = plain((&raw mut word).cast());
        return if done < 0 { done } else { word };
    }
    if request != PUT_SET || address as usize != XSTATE {
        return plain(data);
    }
    let mut all = Buffer { base: WHOLE.0.get().cast(), length: SIZE };
    let all = (&raw mut all).cast::<Buffer>();
    unsafe {
        let given = &*data.cast::<Buffer>();
        let got = syscall(SYS_PTRACE, GET_SET, process, address, all);
        if got < 0 || given.length >= (*all).length {
            return plain(data);
        }
        std::ptr::copy_nonoverlapping(given.base, (*all).base, given.length);
    }
    plain(all.cast())
}
