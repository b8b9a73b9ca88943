//! Fields that are read and that nothing here runs.

use super::Target;
use crate::{Service, run::refuse::Refusals};

pub(super) fn check(service: &Service, target: &Target<'_>, refusals: &mut Refusals<'_>) {
    let at = |field: &str| format!("services.{}.{field}", service.name);
    let not = "is not supported";
    if service.build.is_some() && service.image.is_some() && target.docker {
        refusals.add(
            at("build"),
            "images are not built here: build it, and leave `build` out of the files that are run",
        );
    }
    refusals.unless(&service.provider, at("provider"), "programs that provide services are not supported");
    refusals.unless(&service.models, at("models"), "models are not supported");
    refusals.unless(
        &service.use_api_socket,
        at("use_api_socket"),
        "a container gets no socket of its engine",
    );
    refusals.unless(&service.credential_spec, at("credential_spec"), "is for Windows");
    refusals.unless(&service.isolation, at("isolation"), "is for Windows");
    refusals.unless(&service.cpu_count, at("cpu_count"), "is for Windows");
    refusals.unless(&service.cpu_percent, at("cpu_percent"), "is for Windows");
    refusals.unless(&service.cpu_period, at("cpu_period"), "is not supported: say `cpus`");
    refusals.unless(&service.cpu_quota, at("cpu_quota"), "is not supported: say `cpus`");
    refusals.unless(&service.cpu_rt_period, at("cpu_rt_period"), not);
    refusals.unless(&service.cpu_rt_runtime, at("cpu_rt_runtime"), not);
    refusals.unless(
        &service.external_links,
        at("external_links"),
        "is not supported: join the other one's network",
    );
    refusals.unless(&service.volumes_from, at("volumes_from"), "is not supported: name the volumes");
    refusals.unless(&service.gpus, at("gpus"), not);
    refusals.unless(&service.pre_start, at("pre_start"), "commands at turns of a life are not supported");
    refusals.unless(&service.post_start, at("post_start"), "commands at turns of a life are not supported");
    refusals.unless(&service.pre_stop, at("pre_stop"), "commands at turns of a life are not supported");
    if let Some(block) = &service.blkio_config {
        refusals.unless(&block.weight_device, at("blkio_config.weight_device"), not);
        refusals.unless(&block.device_read_bps, at("blkio_config.device_read_bps"), not);
        refusals.unless(&block.device_read_iops, at("blkio_config.device_read_iops"), not);
        refusals.unless(&block.device_write_bps, at("blkio_config.device_write_bps"), not);
        refusals.unless(&block.device_write_iops, at("blkio_config.device_write_iops"), not);
    }
    for (n, link) in service.links.iter().enumerate() {
        if link.contains(':') {
            refusals.add(
                at(&format!("links[{n}]")),
                "another name by a link is not supported: give the other one an alias on a network",
            );
        }
    }
    if let Some(deploy) = &service.deploy {
        if !matches!(deploy.mode.as_deref(), None | Some("replicated")) {
            refusals.add(at("deploy.mode"), "needs a swarm");
        }
        refusals.unless(&deploy.endpoint_mode, at("deploy.endpoint_mode"), "needs a swarm");
        refusals.unless(&deploy.placement, at("deploy.placement"), "needs a swarm");
        refusals.unless(
            &deploy.update_config,
            at("deploy.update_config"),
            "as many are replaced at once as the options of `up` say",
        );
        refusals.unless(&deploy.rollback_config, at("deploy.rollback_config"), "is not supported");
        refusals.unless(&deploy.labels, at("deploy.labels"), "needs a swarm: labels of workers are `labels`");
    }
}
