//! Look: ask the engine which containers there are, and who ended them.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};

use super::{CLOSE_LOOK, Pass};
use crate::{
    app::next::Suspects,
    domain::{ContainerId, Observed, Phase},
    engine::EngineError,
};

/// How many looks are under way at once.
const LOOKS: usize = 32;

impl Pass {
    /// Looks at the engine: the network, then all containers. It looks closely at those to which something happened.
    pub(super) async fn look(
        &self,
        Suspects { containers: suspects, all }: &Suspects,
    ) -> Result<Vec<Observed>, EngineError> {
        let looked = async {
            let all = *all;
            if all {
                let info = self.engine.info().await?;
                let gateway = self.engine.prepare().await?;
                self.vitals.set_gateway(gateway);
                self.vitals.engine_is_seen(&info);
            }
            let observed = self.engine.list().await?;
            let (again, waiting) = self.mute(all);
            let (again, waiting) = (&again, &waiting);
            let close = |o: &Observed| {
                let is_suspect = all || suspects.contains(&o.container) || again.contains(&o.container);
                o.phase == Phase::Running && is_suspect
            };
            let looks = observed.into_iter().map(|mut o| async move {
                o.ended_by = (o.phase == Phase::Exited).then(|| self.work.ended_by(&o.container));
                match o {
                    // Others may have changed it. Whoever records its end looks at the end again.
                    o if o.phase == Phase::Exited && suspects.contains(&o.container) => {
                        let close = self.engine.inspect(&o.container).await;
                        let close = close.ok().filter(|close| close.phase == Phase::Exited);
                        Ok(Some(close.map_or(o.clone(), |close| Observed { ended_by: o.ended_by, ..close })))
                    }
                    o if waiting.contains(&o.container) => Ok(Some(Observed { phase: Phase::Unclear, ..o })),
                    o if close(&o) => self.look_closely(o, again).await,
                    o => Ok(Some(o)),
                }
            });
            let looked: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS).collect().await;
            looked.into_iter().filter_map(Result::transpose).collect()
        }
        .await;
        if let Err(e) = &looked {
            self.vitals.engine_is_missed(e);
            self.next.look_at_all();
            self.own().engine_was_away = true;
        }
        looked
    }

    /// Splits the containers the engine cannot describe: first those that this pass tries again, few enough to delay
    /// nobody; then those that wait for their turn.
    fn mute(&self, all: bool) -> (HashSet<ContainerId>, HashSet<ContainerId>) {
        let mut own = self.own();
        let turn = if all { own.mute.len() } else { LOOKS.min(own.mute.len()) };
        (own.mute.drain(..turn).collect(), own.mute.iter().cloned().collect())
    }

    /// Looks at one container. One that the engine cannot describe is left alone; it is tried again after those that
    /// wait already.
    async fn look_closely(
        &self,
        shallow: Observed,
        again: &HashSet<ContainerId>,
    ) -> Result<Option<Observed>, EngineError> {
        match tokio::time::timeout(CLOSE_LOOK, self.engine.inspect(&shallow.container)).await {
            Ok(Ok(close)) => Ok(Some(close)),
            // It is gone since the list was made.
            Ok(Err(EngineError::NoContainer)) => Ok(None),
            Ok(Err(e @ EngineError::Unavailable(_))) => Err(e),
            Ok(Err(_)) | Err(_) => {
                if !again.contains(&shallow.container) {
                    tracing::warn!(container = %shallow.container, "the engine does not tell of this container");
                }
                self.own().mute.push_back(shallow.container.clone());
                Ok(Some(Observed { phase: Phase::Unclear, ..shallow }))
            }
        }
    }
}
