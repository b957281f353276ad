//! Ends calls that take too long, as Ctrl-C does: with a signal to the thread that runs Python. It is handled between two
//! instructions of Python, and wakes system calls and those functions in C that look for signals.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;

pyo3::create_exception!(
    cilium_proxy.l7,
    TimeLimitError,
    PyBaseException,
    "A call beyond the time limit. Not an Exception, so that a parser does not catch it by the way."
);

/// The call that runs; 0: none.
static RUNNING: AtomicU64 = AtomicU64::new(0);
/// The last call to be ended.
static EXPIRED: AtomicU64 = AtomicU64::new(0);
/// The thread that runs Python.
static THREAD: OnceLock<libc::pthread_t> = OnceLock::new();

/// A call begins.
pub(crate) fn begin(call: u64) {
    RUNNING.store(call, Ordering::SeqCst);
}

/// It ends.
pub(crate) fn end() {
    RUNNING.store(0, Ordering::SeqCst);
}

/// A signal that nothing else uses.
fn signal() -> libc::c_int {
    libc::SIGRTMAX() - 2
}

/// Prepares this thread, Python's main thread, for being interrupted.
#[allow(unsafe_code, reason = "signals of a thread")]
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    // SAFETY: the set is a local, and initialised first.
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, signal());
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const signals, std::ptr::null_mut());
        let _ = THREAD.set(libc::pthread_self());
    }
    let handler = wrap_pyfunction!(on_signal, py)?;
    py.import("signal")?.call_method1("signal", (signal(), handler))?;
    Ok(())
}

/// Ends the call, if it is the one that runs; from any thread.
#[allow(unsafe_code, reason = "signals of a thread")]
pub(crate) fn interrupt(call: u64) {
    let Some(thread) = THREAD.get() else { return };
    if call != 0 && RUNNING.load(Ordering::SeqCst) == call {
        EXPIRED.store(call, Ordering::SeqCst);
        // SAFETY: the thread lives as long as the process. When the call has ended meanwhile, the handler does nothing.
        unsafe { libc::pthread_kill(*thread, signal()) };
    }
}

#[pyfunction]
fn on_signal(_number: i32, _frame: Bound<'_, PyAny>) -> PyResult<()> {
    let running = RUNNING.load(Ordering::SeqCst);
    if running != 0 && running == EXPIRED.load(Ordering::SeqCst) {
        return Err(TimeLimitError::new_err("the call takes longer than it may"));
    }
    Ok(())
}
