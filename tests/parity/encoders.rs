//! What the encoders may not do: run twice, see padding, or give other CLS states alone than among
//! all rows.

use flava_model::{AttentionKind, ImageInputs, TextInputs, runtime::trace};

use super::golden::{TOLERANCE, inputs, load};
use crate::support::{
    close::difference,
    golden::{Golden, directories},
};

/// How often a case's forward pass runs the image and the text encoder.
fn encoder_calls(golden: &Golden, case: &str) -> (usize, usize) {
    let model = load(golden, case, AttentionKind::Fused);
    let (_, seen) = trace::record(|| model.model.forward(&inputs(golden, case)).unwrap());
    let count = |module: &str| {
        seen.iter()
            .filter(|(name, _)| name == &format!("flava.{module}.embeddings"))
            .count()
    };
    (count("image_model"), count("text_model"))
}

#[test]
fn no_encoder_runs_on_what_no_loss_reads_nor_twice_on_the_same() {
    let golden = Golden::open(&directories()[0]);
    for (case, calls) in [
        ("mm_itm", (2, 2)), // masked for ITM and MMM, unmasked for the contrastive loss
        ("mm_no_input_ids", (1, 1)),
        ("mm_inference", (1, 1)),
        ("image_only", (1, 0)),
        ("text_only", (0, 1)),
    ] {
        assert_eq!(encoder_calls(&golden, case), calls, "{case}");
    }
}

#[test]
fn cls_rows_alone_are_those_of_the_whole_sequence() {
    let golden = Golden::open(&directories()[0]);
    let inputs = inputs(&golden, "mm_itm");
    let (image, text) = (
        ImageInputs::new(inputs.pixel_values.unwrap()),
        inputs.text.unwrap(),
    );
    let mask = text.attention_mask.as_ref();
    for (kind, packed) in [
        (AttentionKind::Plain, false),
        (AttentionKind::Fused, false),
        (AttentionKind::Plain, true),
        (AttentionKind::Fused, true),
    ] {
        let mut flava = load(&golden, "mm_itm", kind).model.flava;
        if packed {
            flava.pack();
        }
        let (all_image, all_text) = (
            flava.encode_image(&image).unwrap(),
            flava.encode_text(&text).unwrap(),
        );
        let joint = flava
            .encode_multimodal(&all_image, &all_text, mask)
            .unwrap();
        let pairs = [
            (flava.encode_image_cls(&image).unwrap(), all_image.cls()),
            (flava.encode_text_cls(&text).unwrap(), all_text.cls()),
            (
                flava
                    .encode_multimodal_cls(&all_image, &all_text, mask)
                    .unwrap(),
                joint.cls(),
            ),
        ];
        for (alone, whole) in pairs {
            assert_eq!(
                difference(&alone.cls(), &whole, TOLERANCE, TOLERANCE),
                None,
                "{kind:?}, packed: {packed}"
            );
        }
    }
}

#[test]
fn padding_changes_nothing() {
    let golden = Golden::open(&directories()[0]);
    let inputs = inputs(&golden, "mm_itm");
    let (image, text) = (
        ImageInputs::new(inputs.pixel_values.unwrap()),
        inputs.text.unwrap(),
    );
    let mask = text.attention_mask.unwrap();
    for packed in [false, true] {
        let mut flava = load(&golden, "mm_itm", AttentionKind::Fused).model.flava;
        if packed {
            flava.pack();
        }
        let images = flava.encode_image(&image).unwrap();
        let padded = TextInputs {
            attention_mask: Some(mask.shallow_clone()),
            ..TextInputs::new(text.input_ids.shallow_clone())
        };
        let states = flava.encode_text(&padded).unwrap();
        let joint = flava
            .encode_multimodal(&images, &states, Some(&mask))
            .unwrap()
            .cls();
        for row in 0..mask.size()[0] {
            let length = mask.get(row).sum(tch::Kind::Int64).int64_value(&[]);
            let alone = TextInputs::new(text.input_ids.narrow(0, row, 1).narrow(1, 0, length));
            let alone = flava.encode_text(&alone).unwrap();
            let padded = states
                .last_hidden_state
                .narrow(0, row, 1)
                .narrow(1, 0, length);
            assert_eq!(
                difference(&alone.last_hidden_state, &padded, TOLERANCE, TOLERANCE),
                None,
                "row {row}, packed: {packed}"
            );
            let image = flava
                .encode_image(&ImageInputs::new(image.pixel_values.narrow(0, row, 1)))
                .unwrap();
            let one = flava.encode_multimodal(&image, &alone, None).unwrap().cls();
            assert_eq!(
                difference(&one, &joint.narrow(0, row, 1), TOLERANCE, TOLERANCE),
                None,
                "row {row}, packed: {packed}"
            );
        }
    }
}
