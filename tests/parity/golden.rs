//! Every output, intermediate state, loss and gradient of every golden case, with both ways of
//! computing attention.

use std::collections::BTreeMap;

use flava_model::{
    AttentionKind, EncoderOutput, Flava, FlavaConfig, ImageInputs, TextInputs,
    checkpoint::Checkpoint, runtime::trace,
};
use flava_pretrain::{FlavaForPreTraining, OnEmpty, PretrainingInputs, PretrainingOutput};
use serde_json::Value;
use tch::{Tensor, nn::VarStore};

use crate::support::{
    close::difference,
    golden::{Golden, directories},
    place::device,
};

/// The tolerance that the golden script states.
pub(super) const TOLERANCE: f64 = 1e-5;

type Named = BTreeMap<String, Tensor>;

pub(super) struct Model {
    pub(super) model: FlavaForPreTraining,
    store: VarStore,
}

pub(super) fn load(golden: &Golden, case: &str, kind: AttentionKind) -> Model {
    let mut config = FlavaConfig::from_file(&golden.dir.join("config.json")).unwrap();
    let weights = &golden.manifest["cases"][case]["weights"];
    let set = |weight: &mut f64, name: &str| *weight = weights[name].as_f64().unwrap_or(*weight);
    set(&mut config.mim_weight, "mim");
    set(&mut config.mlm_weight, "mlm");
    set(&mut config.itm_weight, "itm");
    set(&mut config.global_contrastive_weight, "global_contrastive");
    set(&mut config.mmm_image_weight, "mmm_image");
    set(&mut config.mmm_text_weight, "mmm_text");
    let checkpoint = Checkpoint::open(&golden.dir).unwrap();
    let (model, store, report) =
        FlavaForPreTraining::load(&checkpoint, config, device(), kind, OnEmpty::Nan).unwrap();
    assert!(
        report.missing.is_empty() && report.unexpected.is_empty(),
        "{report}"
    );
    for (name, value) in golden.group(case, "overrides") {
        let mut variable = store.variables().remove(name).unwrap();
        tch::no_grad(|| variable.copy_(value));
    }
    Model { model, store }
}

pub(super) fn inputs(golden: &Golden, case: &str) -> PretrainingInputs {
    let get = |name: &str| golden.get(case, "inputs", name);
    let text = |ids: &str, positions: bool| {
        get(ids).map(|input_ids| TextInputs {
            input_ids,
            attention_mask: get("attention_mask"),
            token_type_ids: get("token_type_ids"),
            // transformers drops them in the masked pass.
            position_ids: if positions { get("position_ids") } else { None },
        })
    };
    PretrainingInputs {
        text: text("input_ids", true),
        masked_text: text("input_ids_masked", false),
        all_states: true,
        ..PretrainingInputs::named(get)
    }
}

/// What `encode` saw under the names of the golden file: the last call of each module.
fn last_calls(seen: Vec<(String, Tensor)>) -> Named {
    seen.into_iter().collect()
}

/// An encoder's outputs under transformers' names, from its states and the trace of its blocks.
fn encoder_outputs(
    name: &str,
    module: &str,
    output: &EncoderOutput,
    pooled: Tensor,
    trace: &Named,
    into: &mut Named,
) {
    into.insert(
        format!("{name}_output.last_hidden_state"),
        output.last_hidden_state.shallow_clone(),
    );
    into.insert(format!("{name}_output.pooler_output"), pooled);
    into.insert(
        format!("{name}_embeddings"),
        output.last_hidden_state.shallow_clone(),
    );
    let mut states = vec![trace.get(&format!("flava.{module}.embeddings"))];
    for i in 0.. {
        let layer = format!("flava.{module}.encoder.layer.{i}");
        let Some(state) = trace.get(&layer) else {
            break;
        };
        states.push(Some(state));
        if let Some(probs) = trace.get(&format!("{layer}.attention.attention.probs")) {
            into.insert(
                format!("{name}_output.attentions.{i}"),
                probs.shallow_clone(),
            );
        }
    }
    for (i, state) in states.into_iter().enumerate() {
        if let Some(state) = state {
            into.insert(
                format!("{name}_output.hidden_states.{i}"),
                state.shallow_clone(),
            );
        }
    }
}

/// transformers projects to the multimodal encoder's input even where there is nothing to join; we
/// do not.
fn see_projections(flava: &Flava, image: Option<&EncoderOutput>, text: Option<&EncoderOutput>) {
    if image.is_some() != text.is_some() {
        image.map(|image| flava.image_to_multimodal(image).unwrap());
        text.map(|text| flava.text_to_multimodal(text).unwrap());
    }
}

struct Run {
    outputs: Named,
    /// Hooks of the pass over unmasked inputs, and of the model's own forward.
    unmasked: Named,
    forward: Vec<(String, Tensor)>,
    loss: Option<Tensor>,
}

fn run(model: &Model, inputs: &PretrainingInputs) -> Run {
    let mut outputs = Named::new();
    let flava = &model.model.flava;
    let (image_encoder, text_encoder, multimodal_encoder) = flava.encoders();
    let ((image, text, joint), seen) = trace::record(|| {
        let image = inputs.pixel_values.as_ref().map(|p| {
            flava
                .encode_image(&ImageInputs::new(p.shallow_clone()))
                .unwrap()
        });
        let text = inputs.text.as_ref().map(|t| flava.encode_text(t).unwrap());
        let joint = image.as_ref().zip(text.as_ref()).map(|(image, text)| {
            let mask = inputs.text.as_ref().and_then(|t| t.attention_mask.as_ref());
            flava.encode_multimodal(image, text, mask).unwrap()
        });
        see_projections(flava, image.as_ref(), text.as_ref());
        let image = image.map(|o| (image_encoder.pool(&o).unwrap(), o));
        let text = text.map(|o| (text_encoder.pool(&o).unwrap(), o));
        let joint = joint.map(|o| (multimodal_encoder.pool(&o).unwrap(), o));
        (image, text, joint)
    });
    let unmasked = last_calls(seen);
    for (name, module, output) in [
        ("image", "image_model", image),
        ("text", "text_model", text),
        ("multimodal", "multimodal_model", joint),
    ] {
        if let Some((pooled, output)) = output {
            encoder_outputs(name, module, &output, pooled, &unmasked, &mut outputs);
        }
    }
    let (output, forward) = trace::record(|| {
        let output = model.model.forward(inputs).unwrap();
        let (a, b, c) = (
            &output.masked_image,
            &output.masked_text,
            &output.masked_multimodal,
        );
        see_projections(flava, a.as_ref(), b.as_ref());
        let pools = (
            a.as_ref().map(|o| image_encoder.pool(o).unwrap()),
            b.as_ref().map(|o| text_encoder.pool(o).unwrap()),
            c.as_ref().map(|o| multimodal_encoder.pool(o).unwrap()),
        );
        (output, pools)
    });
    let (output, (image_pool, text_pool, joint_pool)) = output;
    let masked = last_calls(
        forward
            .iter()
            .map(|(n, t)| (n.clone(), t.shallow_clone()))
            .collect(),
    );
    let parts = [
        (
            "image_masked",
            "image_model",
            &output.masked_image,
            image_pool,
        ),
        ("text_masked", "text_model", &output.masked_text, text_pool),
        (
            "multimodal_masked",
            "multimodal_model",
            &output.masked_multimodal,
            joint_pool,
        ),
    ];
    for (name, module, states, pooled) in parts {
        if let (Some(states), Some(pooled)) = (states, pooled) {
            encoder_outputs(name, module, states, pooled, &masked, &mut outputs);
        }
    }
    let loss = output.losses.total();
    add_logits(output, &mut outputs);
    Run {
        outputs,
        unmasked,
        forward,
        loss,
    }
}

fn add_logits(output: PretrainingOutput, outputs: &mut Named) {
    if let Some(matching) = &output.matching {
        let all = outputs.remove("multimodal_masked_embeddings").unwrap();
        outputs.insert(
            "multimodal_masked_embeddings".into(),
            all.index_select(0, &matching.nonzero().squeeze_dim(-1)),
        );
    }
    let (per_image, per_text) = output
        .contrastive
        .map(|c| (c.per_image, c.per_text))
        .unzip();
    let logits = [
        ("mim_logits", output.mim_logits),
        ("mlm_logits", output.mlm_logits),
        ("itm_logits", output.itm_logits),
        ("mmm_image_logits", output.mmm_image_logits),
        ("mmm_text_logits", output.mmm_text_logits),
        ("contrastive_logits_per_image", per_image),
        ("contrastive_logits_per_text", per_text),
        ("loss", output.losses.total()),
    ];
    outputs.extend(
        logits
            .into_iter()
            .filter_map(|(name, t)| Some((name.to_owned(), t?))),
    );
    for (name, loss) in output.losses.named() {
        if let Some(loss) = loss {
            outputs.insert(format!("loss_info.{name}"), loss.shallow_clone());
        }
    }
}

/// Everything that differs in one case.
struct Check<'a> {
    position: String,
    golden: &'a Golden,
    case: &'a str,
    compared: usize,
    wrong: Vec<String>,
}

impl<'a> Check<'a> {
    fn compare(&mut self, name: &str, ours: Option<&Tensor>, theirs: &Tensor) {
        self.compared += 1;
        let problem = match ours {
            None => Some("is missing".to_owned()),
            Some(ours) => difference(ours, theirs, self.tolerance(name), TOLERANCE),
        };
        if let Some(problem) = problem {
            self.wrong
                .push(format!("{} {}: {name} {problem}", self.position, self.case));
        }
    }

    fn group(&mut self, group: &str, ours: &Named) {
        for (name, theirs) in self.golden.group(self.case, group) {
            self.compare(&format!("{group}/{name}"), ours.get(name), theirs);
        }
    }

    /// Logits of the codebook and at the highest temperature are large: there the distance of
    /// transformers' own f32 run from an f64 run, which the golden file records, is the floor, and
    /// ours may be as far on the other side.
    fn tolerance(&self, name: &str) -> f64 {
        let group = name.split('/').next().unwrap();
        let noise = self.info("float64")[group]["max_abs_diff"]
            .as_f64()
            .unwrap_or(0.0);
        let large = ["codebook", "mm_logit_scale_clamped"].contains(&self.case);
        if large {
            TOLERANCE.max(2.0 * noise)
        } else {
            TOLERANCE
        }
    }

    fn info(&self, key: &str) -> &'a Value {
        &self.golden.manifest["cases"][self.case][key]
    }
}

fn check_hooks(check: &mut Check, run: &Run) {
    let last = last_calls(
        run.forward
            .iter()
            .map(|(n, t)| (n.clone(), t.shallow_clone()))
            .collect(),
    );
    let hooks = check.golden.group(check.case, "hooks");
    for (name, theirs) in &hooks {
        let (module, call) = name.split_once('#').unwrap();
        let twice = hooks.contains_key(format!("{module}#1").as_str());
        let ours = if twice && call == "0" {
            &run.unmasked
        } else {
            &last
        };
        // Without labels nothing is selected, and transformers' heads see [batch, tokens, width];
        // ours see the same tokens as rows.
        let rows_alone = module.starts_with("mmm_") && theirs.dim() == 3;
        let theirs = if rows_alone {
            theirs.flatten(0, 1)
        } else {
            theirs.shallow_clone()
        };
        check.compare(&format!("hooks/{name}"), ours.get(module), &theirs);
    }
}

fn check_gradients(check: &mut Check, model: &Model, loss: Option<&Tensor>) {
    let Some(norm) = check.info("grad_norm").as_f64() else {
        return;
    };
    loss.unwrap().backward();
    let gradients: Named = model
        .store
        .variables()
        .into_iter()
        .map(|(n, v)| (n, v.grad()))
        .filter(|(_, g)| g.defined())
        .collect();
    check.group("grads", &gradients);
    let ours = gradients
        .values()
        .map(|g| g.square().sum(tch::Kind::Double).double_value(&[]))
        .sum::<f64>()
        .sqrt();
    let relative = (ours - norm).abs() / norm;
    if relative > TOLERANCE {
        check.wrong.push(format!(
            "{} {}: gradient norm {ours}, expected {norm}",
            check.position, check.case
        ));
    }
    for name in check.info("no_grad").as_array().unwrap() {
        let name = name.as_str().unwrap();
        if gradients
            .get(name)
            .is_some_and(|g| g.abs().max().double_value(&[]) > 0.0)
        {
            check.wrong.push(format!(
                "{} {}: {name} has a gradient",
                check.position, check.case
            ));
        }
    }
}

fn check_forward(check: &mut Check, model: &Model) {
    let inputs = inputs(check.golden, check.case);
    let before: Vec<Option<Tensor>> = [&inputs.mim_labels, &inputs.mlm_labels]
        .into_iter()
        .map(|t| t.as_ref().map(Tensor::copy))
        .collect();
    let run = run(model, &inputs);
    check.group("outputs", &run.outputs);
    let labelless = check.info("flags")["return_loss"] == false;
    for none in check.info("none").as_array().unwrap() {
        // The multimodal encoder on unmasked input is this test's own addition, and a contrastive
        // loss needs no labels.
        let name = none.as_str().unwrap();
        let harness = name.starts_with("multimodal_")
            || name.ends_with("attentions")
            || (labelless && name.starts_with("loss"));
        if !harness && run.outputs.contains_key(name) {
            check.wrong.push(format!(
                "{} {}: {name} should not be computed",
                check.position, check.case
            ));
        }
    }
    check_hooks(check, &run);
    let mut derived = Named::new();
    // transformers clamps the parameter, and only where the contrastive loss runs.
    let contrastive = run.outputs.contains_key("contrastive_logits_per_image");
    let scale = model.store.variables().remove("flava.logit_scale").unwrap();
    derived.insert(
        "logit_scale_after".into(),
        if contrastive {
            model.model.flava.clamped_logit_scale().unwrap()
        } else {
            scale
        },
    );
    if let Some(pixels) = &inputs.codebook_pixel_values {
        derived.insert(
            "mim_labels_unmasked".into(),
            model.model.codebook().unwrap().indices(pixels).unwrap(),
        );
    }
    if let Some(theirs) = check.golden.get(check.case, "derived", "pos_mask") {
        let ours = model.model.forward(&inputs).unwrap().matching;
        derived.insert(
            "pos_mask".into(),
            ours.unwrap_or_else(|| theirs.zeros_like()),
        );
    }
    check.group("derived", &derived);
    check_gradients(check, model, run.loss.as_ref());
    for (before, after) in before.iter().zip([&inputs.mim_labels, &inputs.mlm_labels]) {
        assert_eq!(before.as_ref(), after.as_ref(), "an input was changed");
    }
}

fn check_features(check: &mut Check, model: &mut Model) {
    let input = |name| check.golden.get("features", "inputs", name).unwrap();
    for packed in [false, true] {
        if packed {
            model.model.flava.pack();
        }
        let flava = &model.model.flava;
        let text = TextInputs {
            attention_mask: Some(input("attention_mask")),
            ..TextInputs::new(input("input_ids"))
        };
        let image = |pixels, mask, interpolate_pos_encoding| {
            let inputs = ImageInputs {
                pixel_values: input(pixels),
                bool_masked_pos: mask,
                interpolate_pos_encoding,
            };
            flava
                .image_token_features(&flava.encode_image(&inputs).unwrap())
                .unwrap()
        };
        let (height, width) = (input("large").size()[2], input("large").size()[3]);
        let ours = Named::from([
            (
                "text".into(),
                flava
                    .text_token_features(&flava.encode_text(&text).unwrap())
                    .unwrap(),
            ),
            ("image".into(), image("pixel_values", None, false)),
            (
                "image_masked".into(),
                image("pixel_values", Some(input("bool_masked_pos")), false),
            ),
            ("image_interpolated".into(), image("large", None, true)),
            (
                "interpolated_positions".into(),
                flava
                    .encoders()
                    .0
                    .position_embeddings(height, width)
                    .unwrap(),
            ),
        ]);
        check.group("outputs", &ours);
    }
}

fn check_codebook(check: &mut Check, model: &Model) {
    let pixels = check
        .golden
        .get("codebook", "inputs", "codebook_pixel_values")
        .unwrap();
    let codebook = model.model.codebook().unwrap();
    let mut ours = Named::from([
        ("logits".into(), codebook.logits(&pixels).unwrap()),
        ("indices".into(), codebook.indices(&pixels).unwrap()),
        ("probs".into(), codebook.probabilities(&pixels).unwrap()),
    ]);
    for (i, group) in codebook.groups(&pixels).unwrap().into_iter().enumerate() {
        // The pooling belongs to the group in transformers too.
        ours.insert(format!("group_{}", i + 1), group);
    }
    check.group("outputs", &ours);
}

#[test]
fn every_golden_case_is_reproduced() {
    let (mut compared, mut wrong, mut cases) = (0, Vec::new(), 0);
    for dir in directories() {
        let golden = Golden::open(&dir);
        for case in golden.cases() {
            for kind in [AttentionKind::Plain, AttentionKind::Fused] {
                let position = format!("{} {kind:?}", dir.file_name().unwrap().to_string_lossy());
                let mut check = Check {
                    position,
                    golden: &golden,
                    case,
                    compared: 0,
                    wrong: Vec::new(),
                };
                let mut model = load(&golden, case, kind);
                match check.info("call").as_str().unwrap() {
                    "features" => tch::no_grad(|| check_features(&mut check, &mut model)),
                    "codebook" => check_codebook(&mut check, &model),
                    _ => check_forward(&mut check, &model),
                }
                // A fused kernel gives no attention probabilities.
                let expected =
                    |w: &String| kind == AttentionKind::Plain || !w.contains(".attentions.");
                wrong.extend(check.wrong.into_iter().filter(expected));
                compared += check.compared;
            }
            cases += 1;
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!(
        "{compared} tensors of {cases} cases in {} directories",
        directories().len()
    );
    assert!(cases >= 20, "only {cases} cases");
}
