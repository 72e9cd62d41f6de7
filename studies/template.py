"""The study file that `ris new` writes: every table with a comment on each key."""

__all__ = ["TEMPLATE"]

TEMPLATE = """\
# A study: one system, an axis to sweep, schemes to compare. Run it with: ris run {name}.toml --quick
# Units stand in the names of the keys; spacings are in wavelengths, phases in radians.
title = "{name}"
description = "What the study shows."
seed = 1
realizations = 20_000          # of each point; with [stop], the largest number
quick_realizations = 1_000     # with --quick
block_realizations = 1_024     # what is computed, kept and resumed as one piece

[system]
links = ["direct", "single", "double"]   # paths in use; also "single1", "single2"

[system.bs]
antennas = 16
spacing = 0.5
# Laws: identity, isotropic, planar_isotropic, exponential (coefficient, phase),
# local_scattering (azimuth_deg, elevation_deg, angular_spread_deg).
correlation = {{ law = "exponential", coefficient = 0.5 }}

[system.surface1]              # near the BS
rows = 8
columns = 8
spacing = 0.25
correlation = {{ law = "isotropic" }}
# Laws: none, von_mises (concentration), uniform (half_width), wrapped_normal (standard_deviation),
# quantization (bits), sum (terms).
phase_noise = {{ law = "von_mises", concentration = 2.0 }}
# More of its hardware, which designs of phases do not know of:
# failures = {{ law = "absorbing", probability = 0.1 }}     # or "random_phase", "stuck" (phase)
# amplitude = {{ minimum = 0.2 }}                           # depends on the phase; also offset, steepness
# interference = {{ power_dbm = -90 }}                      # at an element; also correlation
#   coupling = {{ length = 0.2 }}                           # of dipoles; beside phase noise with
#       normalisation = "realization" alone; also radius, reference_ohm

[system.surface2]              # near the users
rows = 8
columns = 8
spacing = 0.25
correlation = {{ law = "isotropic" }}

[system.users]
count = 4

[system.gains]                 # of each hop between two single elements; to users one number, or one each
bs_ris1_db = -60
bs_ris2_db = -80
ris1_ris2_db = -40
ris1_user_db = -80
ris2_user_db = -60
bs_user_db = -115

# Hops in line of sight: Rician, of the gains above.
#   [system.line_of_sight]
#   k_factor_db = 5              # of every hop here without one of its own
#   bs_ris1 = {{ left_azimuth_deg = 20, right_azimuth_deg = -40 }}   # left: the end nearer to the BS
#   ris2_user = {{ azimuth_deg = [10, 20, 30, 40] }}    # from the surface; one angle, or one for each user
#       all also with elevations (left_elevation_deg, ...) and a k_factor_db of their own

# A scenario, in metres, takes the place of the gains and of all correlations above.
#   [system.scenario]
#   frequency_hz = 3.5e9
#   bs = {{ x_m = 0, y_m = 0, z_m = 10, yaw_deg = 0, pitch_deg = 5 }}   # broadside is +x, pitch tilts it down
#   surface1 = {{ x_m = 15, y_m = 15, z_m = 8, yaw_deg = -90, element = {{ exponent = 1 }} }}
#   surface2 = {{ x_m = 80, y_m = 15, z_m = 8, yaw_deg = -90, element = {{ exponent = 1 }} }}
#   users = {{ law = "disc", x_m = 80, y_m = 0, z_m = 1.5, radius_m = 5 }}   # or:
#       law = "rectangle" (x_side_m, y_side_m), "fixed" (positions_m = [[80, 0, 1.5], ...])
#   hop = {{ path_loss = {{ law = "umi" }} }}   # of all hops without a table of their own:
#   ris1_ris2 = {{ path_loss = {{ law = "free_space" }}, left_spread_deg = 10, right_spread_deg = 10 }}
#       laws: free_space, log_distance (exponent, reference_db, reference_m, shadowing_db), umi, uma,
#       inh (office = "mixed" or "open"); line_of_sight = true or false, by default drawn; shadowing = false;
#       k_factor_db = 5 or "law": Rician in line of sight; spreads of local scattering at the two ends, by
#       default isotropic

[transmission]
power_dbm = 20
noise_power_dbm = -95          # or bandwidth_hz and noise_figure_db
csi = "perfect"                # or "nominal": BS does not know the phase noise; "lmmse", "ls": see pilots
# pilots = {{ power_dbm = 0, length = 4 }}   # also of_users = [0, 1, 0, 1], noise_power_dbm (at the BS),
#     covariance = "nominal" or "gain": what the BS of "lmmse" takes for the covariances of the channels
precoder = "mrt"               # or "zf", "rzf", "mmse", "wmmse": simulation only
# normalisation = "long_term"  # or "realization"; a precoder has defaults
# allocation = "common"        # or "equal", "max_min", "water_filling"

[phases]
design = "optimal"             # of the mean gain; or "uniform", "random", "steered" (user), and, slower, for
#   an objective: "gradient", "alternating"; of bits too: "coordinate", "branch_and_bound" (few elements);
#   by a trained network, for systems like those of its training (16 x 16): "predicted" (model)
# bits = 2                     # 2^bits levels
# objective = "sum_rate"       # or "min_rate", "mean_gain": hardening bounds with MRT and perfect CSI

[sweep]                        # several axes: axes = [{{ axis = ..., values = [...] }}, ...], zip = [...]
axis = "power_dbm"             # any key, as "system.bs.spacing", or a short name
values = [0, 10, 20, 30, 40]
quick_values = [0, 20, 40]
#   drops = 100                # of a scenario: tables and pictures show means over them
#   quick_drops = 10

[[scheme]]
label = "phase noise"

[[scheme]]
label = "no phase noise"
set = {{ phase_noise = {{ law = "none" }} }}

# [metrics]                    # beside the rates and gains of every study
# outage_rate = 1.0            # bit/s/Hz
# sinr_quantiles = [0.05, 0.5]

# [power_model]                # adds the energy efficiency
# amplifier_efficiency = 0.4
# bs_w = 10
# element_w = 0.01

# [stop]                       # fewer realizations where they are enough
# metric = "ergodic_sum_rate"
# relative_half_width = 0.01   # or half_width, in the unit of the metric
# confidence = 0.95
# min_realizations = 16_384
# wall_time_s = 600            # time of the blocks of a point, added up

[plot]
x_label = "Transmit power"
x_unit = "dBm"
"""
