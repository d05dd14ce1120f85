//! Figures as SVG of our own, in five shapes. Colours come from the page's style sheet by classes,
//! so that one drawing serves light, dark and print; a figure alone carries the light ones itself.

mod bars;
mod curve;
mod forest;
mod frame;
mod heat;
mod reliability;

pub(super) use self::{
    bars::{Bar, Bars},
    curve::{Curve, CurveMark, CurvePoint, MarkKind, Series},
    forest::{Forest, ForestRow},
    frame::{Drawing, standalone},
    heat::Heat,
    reliability::{Reliability, ReliabilityBin},
};
