//! The system calls that have no safe wrapper elsewhere: bpf(2), the socket options that need privileges, the inherited
//! file descriptor, the signal mask.

use std::ffi::{CStr, c_int, c_long, c_uint};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::catch_unwind;
use std::sync::OnceLock;

use rustix::io::{Errno, Result, fcntl_dupfd_cloexec};

const BPF_MAP_LOOKUP_ELEM: c_int = 1;
const BPF_OBJ_GET: c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_F_RDONLY: u32 = 1 << 3;

/// What the kernel says of a BPF map (the first fields of `struct bpf_map_info`, which never move).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapInfo {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// The kernel's number of the map; unique until the map is gone.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries the map may hold.
    pub max_entries: u32,
    /// `map_flags` it was created with.
    pub flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct ObjectGet {
    path: u64,
    fd: u32,
    file_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Calls bpf(2).
///
/// # Safety
/// `A` must be the `#[repr(C)]` prefix of `union bpf_attr` that `command` reads, its pointers valid for what the
/// command reads and writes there.
unsafe fn bpf<A>(command: c_int, attributes: &mut A) -> Result<c_long> {
    let size = c_uint::try_from(size_of::<A>()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the pointer and size describe `attributes`; the caller vouches for what is in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

/// Opens the map pinned at `path` for reading. Programs and links are refused by the kernel (`EINVAL`).
pub fn bpf_open(path: &CStr) -> Result<OwnedFd> {
    let mut attributes = ObjectGet { path: address(path.as_ptr()), fd: 0, file_flags: BPF_F_RDONLY };
    // SAFETY: `ObjectGet` is what BPF_OBJ_GET reads; `path` is a C string that outlives the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attributes)? };
    let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it. It has close-on-exec set.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An open map together with what it is, of a type whose look-ups copy exactly one value.
#[derive(Debug)]
pub struct ReadableMap {
    // INVARIANT: `info` is the kernel's answer for this very descriptor, and its type is one of `READABLE`.
    fd: OwnedFd,
    info: MapInfo,
}

/// Hash, LRU hash and LPM trie: what Cilium keeps its ipcache and conntrack in. Per-CPU maps copy more than one value.
const READABLE: [u32; 3] = [1, 9, 11];

impl ReadableMap {
    /// Asks the kernel what `fd` is. `EMEDIUMTYPE` for a map of another type, the kernel's errno for what is no map.
    pub fn inspect(fd: OwnedFd) -> Result<Self> {
        let mut info = MapInfo::default();
        let length = u32::try_from(size_of::<MapInfo>()).map_err(|_| Errno::INVAL)?;
        let mut attributes = InfoByFd { fd: raw(fd.as_fd())?, length, info: address(std::ptr::from_mut(&mut info)) };
        // SAFETY: `InfoByFd` is what BPF_OBJ_GET_INFO_BY_FD reads; the kernel writes at most `length` bytes, the size
        // of `info`, and any bytes are a valid `MapInfo`.
        unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)? };
        if READABLE.contains(&info.map_type) { Ok(ReadableMap { fd, info }) } else { Err(Errno::MEDIUMTYPE) }
    }

    /// What the kernel says of the map.
    #[must_use]
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Looks `key` up. `EINVAL` when `key` or `value` is not of the map's size, `ENOENT` when there is no such entry.
    pub fn look_up(&self, key: &[u8], value: &mut [u8]) -> Result<()> {
        // The kernel reads key_size and writes value_size bytes: slices of another length would let it run past them.
        if usize::try_from(self.info.key_size) != Ok(key.len())
            || usize::try_from(self.info.value_size) != Ok(value.len())
        {
            return Err(Errno::INVAL);
        }
        let mut attributes = Element {
            map: raw(self.fd.as_fd())?,
            padding: 0,
            key: address(key.as_ptr()),
            value: address(value.as_mut_ptr()),
            flags: 0,
        };
        // SAFETY: `Element` is what BPF_MAP_LOOKUP_ELEM reads; the slices have exactly the map's sizes, and look-ups in
        // a map of this type copy exactly one value.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attributes)? };
        Ok(())
    }
}

impl AsFd for ReadableMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `SO_MARK`: needs `CAP_NET_ADMIN` (or `CAP_NET_RAW` since Linux 5.17) in the socket's network namespace.
pub fn set_mark<Fd: AsFd>(socket: Fd, mark: u32) -> Result<()> {
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark)
}

/// `IP_TRANSPARENT`: needs `CAP_NET_ADMIN` or `CAP_NET_RAW`.
pub fn set_ip_transparent<Fd: AsFd>(socket: Fd) -> Result<()> {
    set_option(socket.as_fd(), libc::SOL_IP, libc::IP_TRANSPARENT, 1)
}

/// `IPV6_TRANSPARENT`: needs `CAP_NET_ADMIN` or `CAP_NET_RAW`.
pub fn set_ipv6_transparent<Fd: AsFd>(socket: Fd) -> Result<()> {
    set_option(socket.as_fd(), libc::SOL_IPV6, libc::IPV6_TRANSPARENT, 1)
}

/// `IP_BIND_ADDRESS_NO_PORT`: bind(2) with port 0 leaves the port to connect(2), which can then share ports.
pub fn set_bind_address_no_port<Fd: AsFd>(socket: Fd) -> Result<()> {
    set_option(socket.as_fd(), libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Bytes of a u32.
const VALUE_SIZE: libc::socklen_t = 4;

fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: u32) -> Result<()> {
    // SAFETY: `value` lives through the call and the length is its size.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), VALUE_SIZE) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// A duplicate of a descriptor this process was started with, which the parent named by number.
pub fn duplicate_inherited(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: borrowed for one fcntl(2) only, which fails with EBADF where the number is not open.
    fcntl_dupfd_cloexec(unsafe { BorrowedFd::borrow_raw(fd) }, 3)
}

/// Keeps the descriptor with this number open across exec.
pub fn keep_across_exec(fd: RawFd) -> Result<()> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: borrowed for one fcntl(2) only, which fails with EBADF where the number is not open.
    rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(fd) }, rustix::io::FdFlags::empty())
}

/// Called by the socket shim in connect(2) with the destination, 4 or 16 bytes: 1 local, 0 not, -1 cannot say.
pub type LocalCheck = unsafe extern "C" fn(*const u8, usize) -> c_int;

/// The symbol with which the socket shim takes a [`LocalCheck`].
pub const SET_LOCAL_CHECK: &CStr = c"cilium_sockets_set_local_check";

static CHECK: OnceLock<fn(IpAddr) -> bool> = OnceLock::new();

/// Gives the preloaded socket shim this check; the first one given stays. Whether there is a shim in this process.
pub(crate) fn set_local_check(check: fn(IpAddr) -> bool) -> bool {
    // SAFETY: a look-up by a C string's name; the result is checked.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, SET_LOCAL_CHECK.as_ptr()) };
    if symbol.is_null() {
        return false;
    }
    let _ = CHECK.set(check);
    // SAFETY: only the shim, of this same workspace, defines this name, with this type.
    let set = unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(LocalCheck)>(symbol) };
    // SAFETY: `is_local` stays: Envoy is told not to unload the module that registers it (`do_not_close`).
    unsafe { set(is_local) };
    true
}

/// A [`LocalCheck`].
///
/// # Safety
/// `address` points to `length` readable bytes.
unsafe extern "C" fn is_local(address: *const u8, length: usize) -> c_int {
    if address.is_null() {
        return -1;
    }
    // SAFETY: not null, and the caller's promise; bytes need no alignment.
    let bytes = unsafe { std::slice::from_raw_parts(address, length) };
    let ipv4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let ip = ipv4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    let (Ok(ip), Some(check)) = (ip, CHECK.get()) else { return -1 };
    // A panic must not reach the caller, which is C to us.
    catch_unwind(|| check(ip)).map_or(-1, c_int::from)
}

/// Blocks all signals in the calling thread and those it starts, or none.
pub(crate) fn block_signals(all: bool) {
    let set = all_signals();
    let how = if all { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: the set is initialised; the call does not fail with a valid pointer and operation.
    unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) };
}

/// Waits for a signal that is blocked; its number.
pub(crate) fn next_signal() -> Result<c_int> {
    let set = all_signals();
    // SAFETY: the set is initialised; nothing is asked for beside the signal's number.
    let number = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
    if number < 0 { Err(last_errno()) } else { Ok(number) }
}

/// Lets a signal have its default effect, in place of what Rust's runtime has it do.
pub(crate) fn default_effect(number: c_int) {
    // SAFETY: a wrong number is refused; nothing in this process relies on another effect.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

fn all_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set it is given.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        all.assume_init()
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn raw(fd: BorrowedFd<'_>) -> Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)
}
