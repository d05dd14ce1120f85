//! What is computed from how often each class was taken for each: Matthews' correlation and F1.

/// Rows by their place in the table of predicted and true classes.
pub(super) struct Confusion {
    classes: usize,
    cells: Vec<usize>,
}

impl Confusion {
    pub(super) fn new(predicted: &[usize], gold: &[usize]) -> Self {
        let classes = predicted
            .iter()
            .chain(gold)
            .max()
            .map_or(0, |most| most + 1);
        Self {
            classes,
            cells: predicted
                .iter()
                .zip(gold)
                .map(|(p, g)| p * classes + g)
                .collect(),
        }
    }

    /// \[predicted, true\], flat, in f64: products of counts pass 64 bits in no data set, but 32 in
    /// most.
    fn table(&self, weights: &[u32]) -> Vec<f64> {
        let mut table = vec![0.0; self.classes * self.classes];
        for (&cell, &weight) in self.cells.iter().zip(weights) {
            table[cell] += f64::from(weight);
        }
        table
    }

    /// Matthews' correlation, of more than two classes the `R_K` statistic; 0 where the predictions
    /// or the truth are constant.
    pub(super) fn matthews(&self, weights: &[u32]) -> Option<f64> {
        let table = self.table(weights);
        let k = self.classes;
        let total: f64 = table.iter().sum();
        if total == 0.0 {
            return None;
        }
        let predicted: Vec<f64> = (0..k)
            .map(|p| table[p * k..(p + 1) * k].iter().sum())
            .collect();
        let gold: Vec<f64> = (0..k)
            .map(|g| (0..k).map(|p| table[p * k + g]).sum())
            .collect();
        let right: f64 = (0..k).map(|c| table[c * k + c]).sum();
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let covariance = right * total - product(&predicted, &gold);
        let scale = (total * total - product(&predicted, &predicted))
            * (total * total - product(&gold, &gold));
        Some(if scale > 0.0 {
            covariance / scale.sqrt()
        } else {
            0.0
        })
    }

    /// F1 of class 1; 0 where it is neither predicted nor true.
    pub(super) fn f1(&self, weights: &[u32]) -> Option<f64> {
        let table = self.table(weights);
        let k = self.classes;
        if k < 2 {
            return (!self.cells.is_empty()).then_some(0.0);
        }
        let right = table[k + 1];
        let sum =
            table[k..2 * k].iter().sum::<f64>() + (0..k).map(|p| table[p * k + 1]).sum::<f64>();
        Some(if sum > 0.0 { 2.0 * right / sum } else { 0.0 })
    }

    /// The mean of accuracy and F1, as GLUE sums up MRPC and QQP.
    pub(super) fn accuracy_f1_mean(&self, weights: &[u32]) -> Option<f64> {
        let table = self.table(weights);
        let right: f64 = (0..self.classes).map(|c| table[c * self.classes + c]).sum();
        Some(f64::midpoint(
            right / table.iter().sum::<f64>(),
            self.f1(weights)?,
        ))
    }
}
