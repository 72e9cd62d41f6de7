"""Studies: parameter sweeps of the double-RIS downlink, their figures and the ``ris`` command."""
