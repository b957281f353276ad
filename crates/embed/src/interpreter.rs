//! Starts Python inside another program: apart from that program's environment, locale and signals, and without ever ending the
//! program when it fails.

use std::ffi::{CStr, CString, c_char, c_int};

use crate::memory;
use crate::symbol::symbol;

/// `PyPreConfig`: ten numbers since Python 3.8.
type PreConfig = [c_int; 16];
/// Of them, `utf8_mode`.
const UTF8_MODE: usize = 7;

/// `PyConfig`: its functions fill it, and none of its fields is touched here. It is smaller than this in all versions.
type Config = [u64; 2048];

/// `PyStatus`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Status {
    kind: c_int,
    function: *const c_char,
    message: *const c_char,
    exit_code: c_int,
}

/// The functions that start Python, since its version 3.8.
struct Functions {
    init_isolated_preconfig: unsafe extern "C" fn(*mut PreConfig),
    preinitialize: unsafe extern "C" fn(*const PreConfig) -> Status,
    init_config: unsafe extern "C" fn(*mut Config),
    set_arguments: unsafe extern "C" fn(*mut Config, isize, *const *mut c_char) -> Status,
    initialize: unsafe extern "C" fn(*const Config) -> Status,
    clear_config: unsafe extern "C" fn(*mut Config),
    is_exception: unsafe extern "C" fn(Status) -> c_int,
}

/// Isolated from the environment and the user's own directories (`-I`), without site packages (`-S`), without writing bytecode
/// (`-B`), with output that is not held back (`-u`).
const OPTIONS: [&CStr; 4] = [c"-I", c"-S", c"-B", c"-u"];

/// Starts the interpreter of the installation that `program` belongs to. This thread becomes Python's main thread. `memory` is
/// the limit of [`memory::limit`].
#[allow(unsafe_code, reason = "Python's C functions")]
pub(crate) fn start(program: &str, memory: u64) -> Result<(), String> {
    let functions = Functions::find()?;
    let program = CString::new(program).map_err(|_| "the path of Python has a zero byte".to_owned())?;
    let mut pre: PreConfig = [0; 16];
    // SAFETY: it writes to the numbers only, which are more than it has.
    unsafe { (functions.init_isolated_preconfig)(&raw mut pre) };
    // Python would take the C locale, which Envoy has, for ASCII.
    pre[UTF8_MODE] = 1;
    // SAFETY: as above; it only reads.
    functions.check(unsafe { (functions.preinitialize)(&raw const pre) })?;
    memory::limit(memory)?;
    let mut config: Box<Config> = Box::new([0; 2048]);
    let arguments = std::iter::once(&*program).chain(OPTIONS).map(|text| text.as_ptr().cast_mut()).collect::<Vec<_>>();
    // SAFETY: the configuration has room; the arguments are C strings, and are copied.
    let status = unsafe {
        (functions.init_config)(&raw mut *config);
        let count = isize::try_from(arguments.len()).unwrap_or_default();
        (functions.set_arguments)(&raw mut *config, count, arguments.as_ptr())
    };
    let started = functions.check(status).and_then(|()| {
        // SAFETY: the configuration was filled by the functions above.
        functions.check(unsafe { (functions.initialize)(&raw const *config) })
    });
    // SAFETY: as above.
    unsafe { (functions.clear_config)(&raw mut *config) };
    started?;
    // SAFETY: this thread holds the lock since the start. From here on it is taken for each call.
    unsafe { pyo3::ffi::PyEval_SaveThread() };
    Ok(())
}

impl Functions {
    #[allow(unsafe_code, reason = "Python's C functions")]
    fn find() -> Result<Self, String> {
        // SAFETY: the fields have the functions' types.
        unsafe {
            Ok(Self {
                init_isolated_preconfig: symbol(c"PyPreConfig_InitIsolatedConfig")?,
                preinitialize: symbol(c"Py_PreInitialize")?,
                init_config: symbol(c"PyConfig_InitPythonConfig")?,
                set_arguments: symbol(c"PyConfig_SetBytesArgv")?,
                initialize: symbol(c"Py_InitializeFromConfig")?,
                clear_config: symbol(c"PyConfig_Clear")?,
                is_exception: symbol(c"PyStatus_Exception")?,
            })
        }
    }

    #[allow(unsafe_code, reason = "Python's C functions")]
    fn check(&self, status: Status) -> Result<(), String> {
        // SAFETY: it only looks at the value.
        if unsafe { (self.is_exception)(status) } == 0 {
            return Ok(());
        }
        if status.message.is_null() {
            return Err(format!("Python ended with code {}", status.exit_code));
        }
        // SAFETY: messages of a status are C strings that live for good.
        Err(unsafe { CStr::from_ptr(status.message) }.to_string_lossy().into_owned())
    }
}
