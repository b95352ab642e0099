// An instrument that grasps tissue and lifts it off a lesion: the actions and the proprio of surgrl/Retract-v0.
// Behavior Parameters: Vector Observation 8, Continuous Actions 4, Discrete Branches 0. One Unity unit is 1 m.
using Unity.MLAgents.Actuators;
using Unity.MLAgents.Sensors;
using UnityEngine;

public class RetractAgent : EpisodeAgent
{
    public Transform tip;               // between the jaws
    public Transform lesion;
    public Transform tissueEdge;        // the part of the tissue to be grasped, e.g. a bone or a particle of the cloth
    public Transform workspace;         // centre of the box that the tip stays in
    public Vector3 workspaceSize = new Vector3(0.06f, 0.05f, 0.06f);    // m
    public float speed = 0.03f;         // m/s, of an action of 1
    public float graspDistance = 0.004f;                // m, at which closing jaws take the tissue
    public LayerMask tissueLayer;       // what can hide the lesion from the endoscope

    float jaw = 1f;                     // rad, 0 closed
    bool grasped;
    int exposedSteps;
    Vector3 tissueAtRest;
    readonly Vector3[] looks = new Vector3[16];         // places on the lesion, relative to its centre

    public override void Initialize()
    {
        base.Initialize();
        tissueAtRest = tissueEdge.position;
        for (int k = 0; k < looks.Length; k++)
        {
            float angle = 2.4f * k, radius = 0.004f * Mathf.Sqrt((k + 0.5f) / looks.Length);
            looks[k] = new Vector3(radius * Mathf.Cos(angle), 0f, radius * Mathf.Sin(angle));
        }
    }

    protected override void BeginEpisode()
    {
        grasped = false;
        exposedSteps = 0;
        jaw = 1f;
        tissueEdge.position = tissueAtRest;
        var half = workspaceSize / 2f;
        tip.position = workspace.position + new Vector3(Draw(-half.x, half.x), Draw(0f, half.y), Draw(-half.z, half.z));
    }

    protected override void Observe(VectorSensor sensor)
    {
        sensor.AddObservation(InCamera(tip.position));
        var turn = Quaternion.Inverse(endoscope.transform.rotation) * tip.rotation;
        // Mirrored with the axis that the optical frame turns over.
        sensor.AddObservation(new Quaternion(-turn.x, turn.y, -turn.z, turn.w));
        sensor.AddObservation(jaw);
    }

    protected override void Act(ActionSegment<float> action)
    {
        var step = FromCamera(new Vector3(action[0], action[1], action[2])) * speed * controlStep;
        var half = workspaceSize / 2f;
        var inside = tip.position + step - workspace.position;
        tip.position = workspace.position + new Vector3(
            Mathf.Clamp(inside.x, -half.x, half.x), Mathf.Clamp(inside.y, -half.y, half.y),
            Mathf.Clamp(inside.z, -half.z, half.z));
        jaw = (action[3] + 1f) / 2f;
        if (jaw > 0.5f) grasped = false;
        else if (Vector3.Distance(tip.position, tissueEdge.position) < graspDistance) grasped = true;
        if (grasped) tissueEdge.position = tip.position;

        float seen = Exposed();
        exposedSteps = seen >= 0.8f ? exposedSteps + 1 : 0;
        float away = Vector3.Distance(tip.position, grasped ? lesion.position : tissueEdge.position);
        Reward("time", -0.01f);
        Reward("exposed", 0.05f * seen);
        Reward("away", grasped ? 0f : -away);
        Tell("distance", away);
        if (exposedSteps * controlStep >= 0.5f)
        {
            Reward("success", 10f);
            End(true);
        }
    }

    // Share of the lesion that the endoscope sees.
    float Exposed()
    {
        int free = 0;
        foreach (var look in looks)
            if (!Physics.Linecast(endoscope.transform.position, lesion.TransformPoint(look), tissueLayer)) free++;
        return (float)free / looks.Length;
    }
}
