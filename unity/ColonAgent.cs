// The tip of a colonoscope: the actions and the proprio of surgrl/ColonNavigate-v0.
// Behavior Parameters: Vector Observation 4, Continuous Actions 3, Discrete Branches 0. One Unity unit is 1 m.
using Unity.MLAgents.Actuators;
using Unity.MLAgents.Sensors;
using UnityEngine;

[RequireComponent(typeof(SphereCollider))]
public class ColonAgent : EpisodeAgent
{
    public Transform[] centreLine;      // from the entry to the caecum, 5 to 10 mm apart
    public LayerMask wallLayer;         // of the colon's MeshCollider
    public float bendSpeed = 45f;       // degrees/s, of an action of 1
    public float insertionSpeed = 0.04f;                // m/s
    public float tipRadius = 0.0064f;   // m
    public float caecum = 0.04f;        // m before the last point: there it is reached

    Vector2 bend;                       // rad, towards the image's right and bottom
    float inserted;                     // m
    int blindSteps;
    float before;

    protected override void BeginEpisode()
    {
        int start = random.Next(1, Mathf.Max(2, centreLine.Length / 20));
        var ahead = centreLine[start + 1].position - centreLine[start].position;
        transform.SetPositionAndRotation(centreLine[start].position, Quaternion.LookRotation(ahead));
        transform.Rotate(Draw(-9f, 9f), Draw(-9f, 9f), 0f, Space.Self);
        bend = Vector2.zero;
        inserted = before = Along();
        blindSteps = 0;
    }

    protected override void Observe(VectorSensor sensor)
    {
        sensor.AddObservation(bend);
        sensor.AddObservation(inserted);
        sensor.AddObservation(0f);      // roll: this tip has none
    }

    protected override void Act(ActionSegment<float> action)
    {
        // About Unity's +y the tip turns to the image's right, about +x to its bottom.
        float right = action[0] * bendSpeed * controlStep, down = action[1] * bendSpeed * controlStep;
        transform.Rotate(down, right, 0f, Space.Self);
        bend += new Vector2(right, down) * Mathf.Deg2Rad;
        float wanted = action[2] * insertionSpeed * controlStep;
        var heading = transform.forward * Mathf.Sign(wanted);
        bool touches = Physics.SphereCast(transform.position, 0.9f * tipRadius, heading, out var hit,
                                          Mathf.Abs(wanted) + 0.1f * tipRadius, wallLayer);
        float moved = touches ? Mathf.Max(0f, hit.distance - 0.1f * tipRadius) * Mathf.Sign(wanted) : wanted;
        transform.position += transform.forward * moved;
        inserted += moved;

        float along = Along(), offset = LumenOffset();
        blindSteps = offset < 1f ? 0 : blindSteps + 1;
        Reward("progress", (along - before) / (insertionSpeed * controlStep));
        Reward("centring", -0.3f * offset);
        Reward("wall", touches ? -0.1f : 0f);
        Reward("force", 0f);            // not measured here
        before = along;
        Tell("cost", touches ? 1f : 0f);
        Tell("distance", Mathf.Max(0f, Length() - caecum - along));
        if (along >= Length() - caecum)
        {
            Reward("success", 50f);
            End(true);
        }
        else if (blindSteps >= 30)
        {
            Reward("failure", -50f);
            End(false);
        }
    }

    // Metres of centre line behind the tip.
    float Along()
    {
        int nearest = Nearest();
        float length = 0f;
        for (int k = 1; k <= nearest; k++) length += Vector3.Distance(centreLine[k - 1].position, centreLine[k].position);
        return length;
    }

    float Length()
    {
        float length = 0f;
        for (int k = 1; k < centreLine.Length; k++)
            length += Vector3.Distance(centreLine[k - 1].position, centreLine[k].position);
        return length;
    }

    int Nearest()
    {
        int nearest = 0;
        for (int k = 1; k < centreLine.Length; k++)
            if ((centreLine[k].position - transform.position).sqrMagnitude
                < (centreLine[nearest].position - transform.position).sqrMagnitude) nearest = k;
        return nearest;
    }

    // DVC's d: where the lumen is in the image, 0 in its middle, 1 at its edge or out of sight.
    float LumenOffset()
    {
        var target = centreLine[Mathf.Min(Nearest() + 5, centreLine.Length - 1)].position;
        var seen = endoscope.WorldToViewportPoint(target);
        if (seen.z <= 0f) return 1f;
        return Mathf.Min(1f, 2f * new Vector2(seen.x - 0.5f, seen.y - 0.5f).magnitude);
    }
}
