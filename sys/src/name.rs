//! What the kernel calls a thread: the name that `top -H`, `perf` and `/proc` show.
//!
//! It has at most 15 bytes. Longer names are cut at the last character boundary that fits, and at
//! a NUL byte.

use crate::Errno;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

/// The most bytes of a name (`TASK_COMM_LEN` less the NUL at the end).
pub const MAX_LEN: usize = 15;

/// `prctl(PR_SET_NAME, name)`: names the calling thread. One system call. Linux 2.6.9.
///
/// # Errors
/// None that the kernel documents for a name like this; a filter may refuse the call.
pub fn set_own(name: &str) -> Result<(), Errno> {
    let name = cut(name);
    let mut text = Text::<{ MAX_LEN + 1 }>::new();
    // It fits: at most `MAX_LEN` bytes.
    let _ = text.write_str(name);
    rustix::thread::set_name(text.as_c_str())
}

/// Writes `/proc/self/task/THREAD/comm`: names a thread of this process by its kernel id. Three
/// system calls. Linux 2.6.33.
///
/// # Errors
/// `ENOENT` if there is no such thread, or no `/proc`.
pub fn set(thread: u32, name: &str) -> Result<(), Errno> {
    let mut path = Text::<48>::new();
    // It fits: 27 bytes and a number of at most 10 digits.
    let _ = write!(path, "/proc/self/task/{thread}/comm");
    let path = OsStr::from_bytes(path.as_c_str().to_bytes());
    // std's, which does not allocate for so short a path: rustix's `fs` takes as long to build as the
    // rest of it.
    let opened = File::options().write(true).open(path);
    let file = opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
    rustix::io::write(&file, cut(name).as_bytes()).map(drop)
}

/// The part of `name` that the kernel takes.
fn cut(name: &str) -> &str {
    let name = name.split('\0').next().unwrap_or_default();
    let mut len = name.len().min(MAX_LEN);
    while !name.is_char_boundary(len) {
        len -= 1;
    }
    &name[..len]
}

/// A short C string, without allocation.
struct Text<const ROOM: usize> {
    bytes: [u8; ROOM],
    len: usize,
}

impl<const ROOM: usize> Text<ROOM> {
    fn new() -> Text<ROOM> {
        Text {
            bytes: [0; ROOM],
            len: 0,
        }
    }

    fn as_c_str(&self) -> &std::ffi::CStr {
        std::ffi::CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl<const ROOM: usize> Write for Text<ROOM> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        if end >= ROOM {
            return Err(std::fmt::Error); // room for the NUL stays
        }
        self.bytes[self.len..end].copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comm(thread: u32) -> String {
        std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap()
    }

    #[test]
    fn thr_5_names_are_cut_between_characters() {
        assert_eq!(cut("0123456789abcdef"), "0123456789abcde");
        assert_eq!(cut("0123456789abcdé"), "0123456789abcd");
        assert_eq!(cut("a\0b"), "a");
        assert_eq!(cut(""), "");
    }

    #[test]
    fn thr_5_the_kernel_knows_the_name() {
        let thread = || {
            let me = crate::tid::gettid();
            set_own("worker with a long name").unwrap();
            assert_eq!(comm(me), "worker with a l\n");
            set(me, "été").unwrap();
            assert_eq!(comm(me), "été\n");
            set(me, "").unwrap();
            assert_eq!(comm(me), "\n");
        };
        std::thread::spawn(thread).join().unwrap();
        assert_eq!(set(0, "nobody"), Err(Errno::NOENT));
    }
}
