// What both example agents share: the episode's seed, no step of zeros after a forced reset, what is told to surgrl.
// For com.unity.ml-agents 2.x and 3.x. Put all files of this folder into Assets/Scripts of a project.
using System;
using Unity.MLAgents;
using Unity.MLAgents.Actuators;
using Unity.MLAgents.Sensors;
using UnityEngine;

public abstract class EpisodeAgent : Agent
{
    [Tooltip("Seconds of one control step: 1/30 for retraction, 1/15 for the colon.")]
    public float controlStep = 1f / 30f;
    [Tooltip("What the policy sees. A camera of 84x84 px or more, by a CameraSensorComponent with PNG compression.")]
    public Camera endoscope;

    protected System.Random random = new System.Random(0);
    bool observed;

    protected abstract void BeginEpisode();             // place everything, with `random`
    protected abstract void Observe(VectorSensor sensor);
    protected abstract void Act(ActionSegment<float> action);   // each in [-1, 1]; then reward, and End(...) if it is over

    public override void Initialize()
    {
        // One decision for each physics step (DecisionRequester: Decision Period 1), as in surgrl's own scenes.
        Time.fixedDeltaTime = controlStep;
    }

    public override void OnEpisodeBegin()
    {
        // surgrl sends a whole number below 2^24 where seed_parameter=seed is given: the same seed, the same episode.
        var seed = Academy.Instance.EnvironmentParameters.GetWithDefault("seed", -1f);
        random = seed >= 0f ? new System.Random((int)seed) : new System.Random(UnityEngine.Random.Range(0, 1 << 24));
        observed = false;
        BeginEpisode();
    }

    public override void CollectObservations(VectorSensor sensor)
    {
        observed = true;
        Observe(sensor);
    }

    public override void OnActionReceived(ActionBuffers actions)
    {
        // After a forced reset ML-Agents calls this once with zeros, before anything was observed.
        if (!observed) return;
        Act(actions.ContinuousActions);
    }

    // The episode is over by itself. Statistics travel with the last observation, so they come first.
    protected void End(bool success)
    {
        Academy.Instance.StatsRecorder.Add("Episode/Success", success ? 1f : 0f);
        EndEpisode();
    }

    // A number of this step that surgrl knows by its name: "cost", or "distance" in metres.
    protected void Tell(string name, float value)
    {
        Academy.Instance.StatsRecorder.Add(name, value, StatAggregationMethod.MostRecent);
    }

    // A term of the reward, which surgrl's configs can weigh by its name: env.reward={wall: 0}.
    protected void Reward(string name, float value)
    {
        AddReward(value);
        Academy.Instance.StatsRecorder.Add("Reward/" + name, value, StatAggregationMethod.Sum);
    }

    protected float Draw(float low, float high)
    {
        return low + (high - low) * (float)random.NextDouble();
    }

    // Unity's camera looks along +z with y up; surgrl's optical frame has y down.
    protected Vector3 InCamera(Vector3 world)
    {
        var seen = endoscope.transform.InverseTransformPoint(world);
        return new Vector3(seen.x, -seen.y, seen.z);
    }

    protected Vector3 FromCamera(Vector3 direction)
    {
        return endoscope.transform.TransformDirection(new Vector3(direction.x, -direction.y, direction.z));
    }
}
