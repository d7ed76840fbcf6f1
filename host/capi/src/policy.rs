//! Policies: what a decode may skip.
#![allow(unsafe_code, reason = "functions that C calls with pointers")]

use crate::memory::{empty, give, path, take, text};
use crate::status::{fastcar_status, guard};
use fastcar_host::policy::Policy;
use std::ffi::c_char;

/// What a decode may skip: nothing, replayed MLPs, unchanged blocks; and which tokens attention reads.
pub struct fastcar_policy(pub(crate) Policy);

/// Makes the policy that computes everything. A NULL policy means the same.
///
/// `*policy` is the caller's, for fastcar_policy_close; NULL when the call fails. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_policy_dense(policy: *mut *mut fastcar_policy) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let out = unsafe { empty(policy, "policy") }?;
        give(out, fastcar_policy(Policy::dense()));
        Ok(())
    })
}

/// Makes a policy of the text of a policy file (docs/policies.md):
/// "version = 1\nkind = \"replay\"\ngate = \"budget\"\nratio = 0.5\n".
///
/// `*policy` is the caller's, for fastcar_policy_close; NULL when the call fails. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_policy_from_toml(
    toml: *const c_char,
    policy: *mut *mut fastcar_policy,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (out, toml) = unsafe { (empty(policy, "policy")?, text(toml, "toml")?) };
        give(out, fastcar_policy(Policy::from_toml(toml)?));
        Ok(())
    })
}

/// Reads a policy file, for instance one that `fastcar calibrate` wrote.
///
/// `*policy` is the caller's, for fastcar_policy_close; NULL when the call fails. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_policy_load(
    file: *const c_char,
    policy: *mut *mut fastcar_policy,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (out, file) = unsafe { (empty(policy, "policy")?, path(file, "file")?) };
        give(out, fastcar_policy(Policy::load(file)?));
        Ok(())
    })
}

/// Closes a policy; nothing for NULL. Sessions that were opened with it have copies.
///
/// Any thread, once no other call uses the policy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_policy_close(policy: *mut fastcar_policy) {
    guard(|| {
        // SAFETY: the handle is closed once.
        drop(unsafe { take(policy) });
        Ok(())
    });
}
