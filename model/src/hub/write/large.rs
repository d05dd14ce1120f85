//! Large-file storage: where objects go, whole or in parts, and whether they arrived.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    channel::{Answer, Call, Channel, LFS, Load, broken},
    content::Weighed,
    error::{Refused, WriteError},
    modes::{FILES_A_CALL, Target},
};

/// The Hub's own address, in the place of which another may stand for it.
const PUBLIC: &str = "https://huggingface.co/";

#[derive(Deserialize)]
struct BatchAnswer {
    objects: Vec<BatchObject>,
}

#[derive(Deserialize)]
struct BatchObject {
    oid: String,
    actions: Option<Actions>,
    error: Option<BatchError>,
}

#[derive(Deserialize)]
struct BatchError {
    code: u16,
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Map<String, Value>,
}

/// Sends files into large-file storage; those that it has already are not sent again.
pub(super) fn store(
    channel: &Channel,
    target: &Target,
    files: &[Weighed],
) -> Result<(), WriteError> {
    let by_oid: HashMap<&str, &Weighed> = files
        .iter()
        .map(|file| (file.sha256.as_str(), file))
        .collect();
    let mut distinct: Vec<&Weighed> = by_oid.values().copied().collect();
    distinct.sort_by_key(|file| &file.upload.path);
    for files in distinct.chunks(FILES_A_CALL) {
        for object in batch(channel, target, files)?.objects {
            let Some(file) = by_oid.get(object.oid.as_str()) else {
                let reason = "it names an object that was not asked for";
                return Err(broken(&target.repo.name, reason));
            };
            if let Some(error) = object.error {
                return Err(WriteError::Refused(Box::new(Refused {
                    what: file.upload.path.clone(),
                    status: error.code,
                    message: error.message,
                    ..Refused::default()
                })));
            }
            let Some(actions) = object.actions else {
                continue;
            };
            if let Some(upload) = &actions.upload {
                upload.run(channel, file)?;
            }
            if let Some(verify) = &actions.verify {
                let body = json!({ "oid": file.sha256, "size": file.size }).to_string();
                verify.post(channel, file, Load::json(body.as_bytes()))?;
            }
        }
    }
    Ok(())
}

fn batch(
    channel: &Channel,
    target: &Target,
    files: &[&Weighed],
) -> Result<BatchAnswer, WriteError> {
    let object = |file: &&Weighed| json!({ "oid": file.sha256, "size": file.size });
    let mut body = json!({
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": files.iter().map(object).collect::<Vec<_>>(),
        "hash_algo": "sha256",
    });
    if !target.as_pr {
        body["ref"] = json!({ "name": target.repo.revision });
    }
    let body = body.to_string();
    let repo = target.repo.hub().url();
    let url = format!("{}/{repo}.git/info/lfs/objects/batch", channel.endpoint);
    let answer = channel.ask(Call {
        what: &target.repo.name,
        method: "POST",
        url: &url,
        load: Load::Bytes {
            bytes: body.as_bytes(),
            media: LFS,
        },
    })?;
    answer.json()
}

impl Action {
    /// Its address, at the Hub that is talked to.
    fn url(&self, channel: &Channel) -> String {
        match self.href.strip_prefix(PUBLIC) {
            Some(rest) => format!("{}/{rest}", channel.endpoint),
            None => self.href.clone(),
        }
    }

    fn post(&self, channel: &Channel, file: &Weighed, load: Load) -> Result<Answer, WriteError> {
        channel.ask(Call {
            what: &file.upload.path,
            method: "POST",
            url: &self.url(channel),
            load,
        })
    }

    /// Sends a file as the Hub wants it.
    fn run(&self, channel: &Channel, file: &Weighed) -> Result<(), WriteError> {
        let put = |url: &str, start, length| {
            channel.ask(Call {
                what: &file.upload.path,
                method: "PUT",
                url,
                load: Load::Part {
                    content: &file.upload.content,
                    start,
                    length,
                },
            })
        };
        let Some(size) = self.header.get("chunk_size") else {
            return put(&self.url(channel), 0, file.size).map(drop);
        };
        let (size, urls) = self.parts(file, size)?;
        let mut parts = Vec::new();
        for (index, url) in urls.iter().enumerate() {
            let start = size * index as u64;
            let answer = put(url, start, size.min(file.size - start))?;
            if answer.etag.is_empty() {
                let reason = format!("part {} has no ETag", index + 1);
                return Err(broken(&file.upload.path, &reason));
            }
            parts.push(json!({ "partNumber": index + 1, "etag": answer.etag }));
        }
        let body = json!({ "oid": file.sha256, "parts": parts }).to_string();
        let bytes = body.as_bytes();
        self.post(channel, file, Load::Bytes { bytes, media: LFS })
            .map(drop)
    }

    /// Bytes of a part, and the parts' addresses in order.
    fn parts(&self, file: &Weighed, size: &Value) -> Result<(u64, Vec<&str>), WriteError> {
        let wrong = || broken(&file.upload.path, "its parts do not make up the file");
        let told = size.as_u64();
        let told = told.or_else(|| size.as_str()?.parse().ok());
        let size = told.filter(|size| *size > 0).ok_or_else(wrong)?;
        let mut urls = BTreeMap::new();
        for (key, url) in &self.header {
            if let (Ok(number), Some(url)) = (key.parse::<u64>(), url.as_str()) {
                urls.insert(number, url);
            }
        }
        if urls.keys().copied().ne(1..=file.size.div_ceil(size)) {
            return Err(wrong());
        }
        Ok((size, urls.into_values().collect()))
    }
}
