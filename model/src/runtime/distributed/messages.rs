//! Numbers and bytes that the processes of a group tell each other.

use tch::{Device, Kind, Tensor};

use super::Group;
use crate::Result;

impl Group {
    /// Each process's numbers, in the order of the processes; all give as many.
    ///
    /// # Errors
    /// Which process failed, and of what.
    pub fn exchange(&self, numbers: &[f64]) -> Result<Vec<Vec<f64>>> {
        if !self.has_others() {
            return Ok(vec![numbers.to_vec()]);
        }
        let from = Tensor::f_from_slice(numbers)?;
        let count = (self.world() * numbers.len()) as i64;
        let into = Tensor::f_empty([count], (Kind::Double, Device::Cpu))?;
        self.all_gather(&into, &from)?.wait()?;
        let all = Vec::<f64>::try_from(into)?;
        Ok(all
            .chunks_exact(numbers.len())
            .map(<[f64]>::to_vec)
            .collect())
    }

    /// The sums of all processes' numbers, by place; all give as many.
    ///
    /// # Errors
    /// Which process failed, and of what.
    pub fn sums(&self, numbers: &[f64]) -> Result<Vec<f64>> {
        if !self.has_others() {
            return Ok(numbers.to_vec());
        }
        let sums = Tensor::f_from_slice(numbers)?;
        self.sum(&sums)?.wait()?;
        Ok(sums.try_into()?)
    }

    /// Each process's bytes, in the order of the processes, of whatever lengths.
    ///
    /// # Errors
    /// Which process failed, and of what.
    pub fn gather_bytes(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        if !self.has_others() {
            return Ok(vec![bytes.to_vec()]);
        }
        let lengths = self.exchange(&[bytes.len() as f64])?;
        let lengths: Vec<usize> = lengths.iter().map(|length| length[0] as usize).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0).max(1);
        let mut filled = bytes.to_vec();
        filled.resize(longest, 0);
        let from = Tensor::f_from_slice(&filled)?;
        let size = [(self.world() * longest) as i64];
        let into = Tensor::f_empty(size, (Kind::Uint8, Device::Cpu))?;
        self.all_gather(&into, &from)?.wait()?;
        let all = Vec::<u8>::try_from(into)?;
        let all = all.chunks_exact(longest).zip(lengths);
        Ok(all
            .map(|(bytes, length)| bytes[..length].to_vec())
            .collect())
    }

    /// What process 0 says, for all.
    ///
    /// # Errors
    /// Which process failed, and of what.
    pub fn of_leader(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let own = if self.leads() { bytes } else { &[] };
        Ok(self.gather_bytes(own)?.swap_remove(0))
    }

    /// Waits until all are here.
    ///
    /// # Errors
    /// Which process failed, and of what.
    pub fn barrier(&self) -> Result<()> {
        self.exchange(&[0.0]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::together::together;

    #[test]
    fn numbers_and_bytes_come_from_every_process() {
        let all = together(3, |group| {
            let rank = group.rank() as f64;
            let bytes = "x".repeat(group.rank()).into_bytes();
            (
                group.exchange(&[rank, 7.0]).unwrap(),
                group.sums(&[rank, 1.0]).unwrap(),
                group.gather_bytes(&bytes).unwrap(),
                group.of_leader(format!("of {rank}").as_bytes()).unwrap(),
                group.share(10),
            )
        });
        let shares: Vec<_> = all.iter().map(|(.., share)| share.clone()).collect();
        assert_eq!(shares, [0..3, 3..6, 6..10]);
        for (numbers, sums, bytes, said, _) in all {
            assert_eq!(numbers, [[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]]);
            assert_eq!((sums, said), (vec![3.0, 3.0], b"of 0".to_vec()));
            assert_eq!(bytes, [b"".to_vec(), b"x".to_vec(), b"xx".to_vec()]);
        }
    }
}
