//! Where compressed weights wait for being written: a file without a name, so that nothing is left behind.

use crate::files::Maps;
use crate::{Error, files};
use anemone_tensor::Tensor;
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Small tensors stay in memory.
const SMALL: usize = 1 << 16;

/// A file that takes tensors and gives them back mapped.
#[derive(Debug)]
pub(crate) struct Spill {
    file: File,
    end: u64,
    maps: Maps,
}

impl Spill {
    /// A spill in a folder with room for the output.
    pub(crate) fn beside(output: &Path) -> Result<Spill, Error> {
        let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::tempfile_in(folder).map_err(|e| Error::new(files::describe(&e)).at(folder))?;
        Ok(Spill { file, end: 0, maps: Maps::default() })
    }

    /// The same tensor with its bytes in the file.
    pub(crate) fn keep(&mut self, tensor: Tensor) -> std::io::Result<Tensor> {
        let bytes = tensor.bytes();
        if bytes.len() < SMALL {
            return Ok(tensor);
        }
        self.file.write_all(bytes)?;
        let start = self.end;
        self.end += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let map = map(&self.file, start, bytes.len())?;
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        drop(tensor);
        Tensor::new(dtype, shape, self.maps.add(map)).map_err(std::io::Error::other)
    }

    /// What was kept so far.
    pub(crate) fn maps(&self) -> &Maps {
        &self.maps
    }
}

fn map(file: &File, start: u64, length: usize) -> std::io::Result<Mmap> {
    // SAFETY: the file has no name and this process alone has it open, so nothing changes or shortens it.
    #[expect(unsafe_code, reason = "mapping a file is the one thing that cannot be done safely")]
    unsafe {
        MmapOptions::new().offset(start).len(length).map(file)
    }
}
