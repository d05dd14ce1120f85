//! Sequences of various lengths one after another, without their padding: nothing that counts
//! attends to it, and nobody reads it.

use tch::{Device, Kind, Tensor};

use super::Rows;
use crate::{
    Result,
    runtime::{attention_within, cpu_attention, place_rows, take_rows},
};

/// Where the tokens of a padded batch are.
#[derive(Debug)]
pub(super) struct Packing {
    batch: i64,
    seq: i64,
    /// Places of all tokens in the batch's rows, \[tokens\].
    places: Tensor,
    /// The token at each place, \[batch * seq\]; of padding, the first one.
    token_at: Tensor,
    /// 1 at the places of tokens, \[batch * seq, 1\].
    is_token: Tensor,
    /// Where each sequence begins, and the last ends, \[batch + 1\] int32.
    starts: Tensor,
    longest: i64,
}

impl Packing {
    /// Of a mask of ones (tokens) and zeros (padding), \[batch, seq\], for states on `device`. None
    /// where there is no padding, or a sequence does not begin with a token.
    pub(super) fn of(mask: &Tensor, device: Device) -> Result<Option<Self>> {
        let (batch, seq) = mask.size2()?;
        let mask = mask.f_to_device(Device::Cpu)?.f_to_kind(Kind::Int64)?;
        let mask: Vec<i64> = mask.f_reshape([-1])?.try_into()?;
        if seq == 0 || !mask.contains(&0) || mask.chunks(seq as usize).any(|row| row[0] == 0) {
            return Ok(None);
        }
        let (mut places, mut token_at, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for (place, kept) in mask.iter().enumerate() {
            if *kept != 0 {
                token_at.push(places.len() as i64);
                places.push(place as i64);
            } else {
                token_at.push(0);
            }
            if (place + 1) % seq as usize == 0 {
                starts.push(places.len() as i32);
            }
        }
        let lengths = starts.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = i64::from(lengths.max().unwrap_or(0));
        Ok(Some(Self {
            batch,
            seq,
            places: Tensor::f_from_slice(&places)?.f_to_device(device)?,
            token_at: Tensor::f_from_slice(&token_at)?.f_to_device(device)?,
            is_token: Tensor::f_from_slice(&mask)?
                .f_ne(0)?
                .f_unsqueeze(-1)?
                .f_to_device(device)?,
            starts: Tensor::f_from_slice(&starts)?.f_to_device(device)?,
            longest,
        }))
    }

    /// States \[batch, seq, size\] to those of tokens, \[1, tokens, size\].
    pub(super) fn pack(&self, states: &Tensor) -> Result<Tensor> {
        let (_, _, size) = states.size3()?;
        let states = states.f_reshape([-1, size])?;
        Ok(take_rows(&states, &self.places)?.f_unsqueeze(0)?)
    }

    /// States of tokens, \[1, tokens, size\], to \[batch, seq, size\], zero at padding.
    pub(super) fn unpack(&self, states: &Tensor) -> Result<Tensor> {
        let (_, tokens, size) = states.size3()?;
        let states = states.f_reshape([tokens, size])?;
        let all = place_rows(&states, &self.places, self.batch * self.seq)?;
        Ok(all.f_view([self.batch, self.seq, size])?)
    }

    /// Rows of the batch as those of its tokens.
    pub(super) fn rows_to_compute(&self, rows: &Rows) -> Result<Rows> {
        let at = |positions: &Tensor| self.token_at.f_index_select(0, positions);
        Ok(match rows {
            Rows::All => Rows::All,
            Rows::Cls => {
                let first = self.starts.f_narrow(0, 0, self.batch)?;
                Rows::At(first.f_to_kind(Kind::Int64)?.into())
            }
            Rows::At(positions) => Rows::At(at(positions)?.into()),
        })
    }

    /// What was computed for [`Self::rows_to_compute`] as the rows of the batch, zero at padding.
    pub(super) fn rows_computed(&self, states: &Tensor, rows: &Rows) -> Result<Tensor> {
        match rows {
            Rows::All => self.unpack(states),
            Rows::Cls => Ok(states.f_unsqueeze(1)?),
            Rows::At(positions) => {
                let is_token = self.is_token.f_index_select(0, positions)?;
                Ok(states.f_mul(&is_token)?)
            }
        }
    }

    /// Attention within each sequence, of queries, keys and values \[1, heads, tokens, `head_dim`\]
    /// to \[1, tokens, heads * `head_dim`\]. None where no kernel is for them.
    pub(super) fn attention(&self, qkv: [&Tensor; 3], dropout: f64) -> Result<Option<Tensor>> {
        let (_, heads, tokens, head_dim) = qkv[0].size4()?;
        if dropout == 0.0
            && let Some(context) = cpu_attention(qkv, Some(&self.starts), None)?
        {
            return Ok(Some(context));
        }
        if !qkv[0].device().is_cuda() || head_dim % 8 != 0 || head_dim > 256 {
            return Ok(None);
        }
        let rows = |t: &Tensor| t.f_squeeze_dim(0)?.f_transpose(0, 1); // [tokens, heads, head_dim]
        let [q, k, v] = qkv.map(rows);
        let context = attention_within([&q?, &k?, &v?], &self.starts, self.longest, dropout)?;
        Ok(Some(context.f_reshape([1, tokens, heads * head_dim])?))
    }
}
