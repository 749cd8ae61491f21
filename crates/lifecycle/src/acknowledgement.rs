use certward_store::{DeploymentId, Generation, StoreError};

use crate::{
    Lifecycle, SilentNodes,
    asked_nodes::{AskedNodes, OtherAnswers},
    node_request::NodeRequest,
};

impl Lifecycle {
    /// The gateway nodes that have not acknowledged a change of the deployment: on these a client
    /// that it refuses may still be served. Waits for them, a second at most. `None`: there is no
    /// gateway node.
    ///
    /// # Errors
    /// [`StoreError`], only on a node without a gateway.
    pub async fn nodes_without(
        &self,
        deployment: &DeploymentId,
        change: Generation,
    ) -> Result<Option<SilentNodes>, StoreError> {
        let request = NodeRequest::CarriedOut { change };
        let (others, own) = tokio::join!(
            self.ask_others::<bool>(AskedNodes::Listed, deployment, &request),
            self.node_view.carried_out(deployment, change)
        );
        let Some(OtherAnswers { answers, silent }) = others? else { return Ok(None) };
        let SilentNodes::These(mut without) = silent else { return Ok(Some(SilentNodes::AllOthers)) };
        without.extend(answers.into_iter().filter(|(_, has)| !has).map(|(node, _)| node));
        without.extend(self.node_view.gateway_node().filter(|_| !own));
        without.sort_unstable();
        Ok(Some(SilentNodes::These(without)))
    }
}
